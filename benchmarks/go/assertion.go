package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"sync"
	"time"
)

// signer makes ES256 assertions (RFC 7519), one for each session and minute.
type signer struct {
	lock   sync.Mutex
	key    *ecdsa.PrivateKey
	signed map[string]*assertion
}

type assertion struct {
	text  string
	until time.Time
}

func (s *signer) of(who *session, now time.Time) string {
	s.lock.Lock()
	defer s.lock.Unlock()
	known := s.signed[who.ID]
	if known == nil || !now.Before(known.until) {
		known = &assertion{s.sign(who, now), now.Add(time.Minute)}
		s.signed[who.ID] = known
	}
	return known.text
}

func (s *signer) sign(who *session, now time.Time) string {
	claims, err := json.Marshal(map[string]any{
		"iss": "https://portal.localhost", "aud": []string{who.App}, "sub": who.User, "groups": who.Groups,
		"preferred_username": who.User, "email": who.User + "@city.example", "name": who.User, "sid": who.ID,
		"amr": []string{"pwd", "otp"}, "acr": "aal2", "jti": newReference(now), "iat": now.Unix(), "exp": now.Unix() + 300,
		"sekisho": map[string]any{"device_id": nil, "device_state": "unknown"},
	})
	must(err)
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"ES256","kid":"yardstick","typ":"JWT"}`)) + "." + encode(claims)
	digest := sha256.Sum256([]byte(text))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	must(err)
	signature := make([]byte, 64)
	for place, number := range []*big.Int{r, v} {
		number.FillBytes(signature[32*place:][:32])
	}
	return text + "." + encode(signature)
}
