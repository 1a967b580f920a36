package main

import (
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"time"
)

// decision is the record that is kept before a request goes on: the fields that the gateway's has.
type decision struct {
	Action    string         `json:"event.action"`
	User      string         `json:"user.id"`
	Name      string         `json:"user.name"`
	Groups    []string       `json:"user.group.name"`
	Session   string         `json:"sekisho.session.id"`
	App       string         `json:"sekisho.app.id"`
	Outcome   string         `json:"event.outcome"`
	Verdict   string         `json:"sekisho.verdict"`
	Domain    string         `json:"url.domain"`
	Policy    string         `json:"sekisho.policy.hash"`
	Zone      string         `json:"sekisho.zone"`
	Listener  string         `json:"sekisho.listener"`
	Address   string         `json:"source.ip"`
	Facts     map[string]any `json:"sekisho.facts"`
	MFAAge    float64        `json:"sekisho.facts.mfa.age"`
	AuthAge   float64        `json:"sekisho.facts.auth.age"`
	Reason    string         `json:"sekisho.reason"`
	Rule      string         `json:"rule.id"`
	Timestamp string         `json:"@timestamp"`
	Request   string         `json:"http.request.id"`
	Method    string         `json:"http.request.method"`
	Path      string         `json:"url.path"`
	Query     string         `json:"url.query,omitempty"`
}

const stamp = "2006-01-02T15:04:05.000Z"

var policyHash = hex.EncodeToString(make([]byte, 32))

func decisionOf(p *passed, id string, now time.Time) *decision {
	made := &decision{
		Action: "request.decided", User: p.session.User, Name: p.session.User, Groups: p.session.Groups,
		Session: p.session.ID, App: p.session.App, Outcome: "success", Verdict: "forward", Domain: "app.localhost",
		Policy: policyHash, Zone: p.session.Zone, Listener: "loopback", Address: p.address, Facts: p.session.Facts,
		MFAAge: p.facts.mfaAge, AuthAge: p.facts.authAge, Reason: "allowed", Rule: p.rule,
		Timestamp: now.UTC().Format(stamp), Request: id, Method: p.facts.method, Path: p.facts.path,
	}
	if p.query != "" {
		digest := sha256.Sum256([]byte(p.query))
		made.Query = "~" + hex.EncodeToString(digest[:12])
	}
	return made
}

// completion is the record of how a request ended.
type completion struct {
	Action    string  `json:"event.action"`
	Timestamp string  `json:"@timestamp"`
	Request   string  `json:"http.request.id"`
	Outcome   string  `json:"event.outcome"`
	Ended     string  `json:"sekisho.outcome"`
	In        int     `json:"http.request.body.bytes"`
	Out       int     `json:"http.response.body.bytes"`
	Duration  int64   `json:"event.duration"`
	Status    int     `json:"http.response.status_code"`
	First     float64 `json:"sekisho.upstream.first_byte_ms"`
}

func completionOf(c *counter, id string, now time.Time) *completion {
	return &completion{
		"request.completed", now.UTC().Format(stamp), id, "success", "complete", 0, c.bytes,
		now.Sub(c.begun).Nanoseconds(), c.status, float64(c.first.Microseconds()) / 1e3,
	}
}

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newReference names one request: 45 bits of milliseconds, 35 of chance.
func newReference(now time.Time) string {
	var made [16]byte
	number, chance := uint64(now.UnixMilli()), rand.Uint64()
	for place := range 9 {
		made[8-place] = alphabet[number>>(5*place)&31]
	}
	for place := range 7 {
		made[9+place] = alphabet[chance>>(5*place)&31]
	}
	return string(made[:])
}
