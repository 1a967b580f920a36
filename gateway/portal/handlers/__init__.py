"""One module for each page or group of pages of the portal; `gateway.portal.server` names their addresses."""
