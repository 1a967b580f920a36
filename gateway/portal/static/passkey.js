// Passkeys: turns a form's options into a call of the browser and its answer into the form's field. Nothing else.
"use strict";

const ceremonies = { create: "parseCreationOptionsFromJSON", get: "parseRequestOptionsFromJSON" };
let waiting = null;

function supported() {
  return Boolean(window.PublicKeyCredential && PublicKeyCredential.parseRequestOptionsFromJSON);
}

async function run(form, mediation) {
  const kind = form.dataset.passkey;
  waiting?.abort();
  waiting = new AbortController();
  const publicKey = PublicKeyCredential[ceremonies[kind]](JSON.parse(form.dataset.options));
  const credential = await navigator.credentials[kind]({ publicKey, signal: waiting.signal, ...mediation });
  form.elements.answer.value = JSON.stringify(credential.toJSON());
  form.submit();
}

async function press(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const failure = form.querySelector("[data-failure]");
  failure.hidden = true;
  try {
    await run(form, {});
  } catch (error) {
    failure.hidden = false;
    failure.focus();
  }
}

async function offer(form) {
  if (await PublicKeyCredential.isConditionalMediationAvailable?.()) {
    run(form, { mediation: "conditional" }).catch(() => {});
  }
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (supported()) {
    form.hidden = false;
    form.addEventListener("submit", press);
    if (form.dataset.autofill !== undefined) offer(form);
  }
}
for (const note of document.querySelectorAll("[data-no-passkey]")) note.hidden = supported();
