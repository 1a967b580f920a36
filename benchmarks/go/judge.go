package main

import (
	"crypto/sha256"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"
)

// session is one signed-in person, with what all requests have in common of the facts.
type session struct {
	Token  string         `json:"token"`
	ID     string         `json:"id"`
	User   string         `json:"user"`
	Groups []string       `json:"groups"`
	Agent  string         `json:"agent"`
	Until  float64        `json:"until"`
	Since  float64        `json:"since"`
	Zone   string         `json:"zone"`
	App    string         `json:"app"`
	Facts  map[string]any `json:"facts"`
}

// passed is a request that may go on.
type passed struct {
	session *session
	facts   facts
	address string
	query   string
	rule    string
}

// facts are what the rules look at; those of the session stay in its map.
type facts struct {
	session *session
	method  string
	path    string
	mfaAge  float64
	authAge float64
}

const cookieName = "__Host-sekisho-app="

// judge returns the request that may go on, or why it may not.
func (g *gateway) judge(host, method, target, remote string, header http.Header, now time.Time) (*passed, string) {
	address := addressOf(remote)
	if !g.addresses.take(address, now) {
		return nil, "rate_limited"
	}
	if host != g.host {
		return nil, "unknown_host"
	}
	path, query, ok := canonical(target)
	if !ok {
		return nil, "path_not_canonical"
	}
	cookies := header.Get("Cookie")
	at := strings.Index(cookies, cookieName)
	if at < 0 || len(cookies) < at+len(cookieName)+43 {
		return nil, "sign_in_required"
	}
	token := cookies[at+len(cookieName):][:43]
	found := g.sessions[sha256.Sum256([]byte(token))]
	wall := float64(now.UnixNano()) / 1e9
	if found == nil || found.Until <= wall {
		return nil, "sign_in_required"
	}
	if !g.users.take(found.User, now) {
		return nil, "rate_limited"
	}
	age := math.Floor(wall - found.Since)
	seen := facts{found, method, path, age, age}
	rule, ok := g.policy.evaluate(&seen)
	if !ok {
		return nil, "denied"
	}
	return &passed{found, seen, address, query, rule}, ""
}

// canonical splits a target into path and query; false where readers could see different segments in it.
func canonical(target string) (string, string, bool) {
	path, query, _ := strings.Cut(target, "?")
	if path == "" || path[0] != '/' || strings.Contains(path, "//") || strings.Contains(path, "./") {
		return "", "", false
	}
	for index := range len(path) {
		letter := path[index]
		plain := letter >= 'a' && letter <= 'z' || letter >= 'A' && letter <= 'Z' || letter >= '-' && letter <= '9'
		if !plain && strings.IndexByte("_~!$&'()*+,=:@", letter) < 0 {
			return "", "", false
		}
	}
	return path, query, path[len(path)-1] != '.'
}

// A condition is one leaf of a rule; a fact that is missing never helps.
type condition func(*facts) bool

type rule struct {
	id                    string
	when, require, unless []condition
}

type policy struct{ allow, deny []rule }

type written struct {
	Attribute string `json:"attribute"`
	Operator  string `json:"operator"`
	Values    []any  `json:"values"`
}

func readPolicy(path string) policy {
	var rules []struct {
		ID      string    `json:"id"`
		Effect  string    `json:"effect"`
		When    []written `json:"when"`
		Require []written `json:"require"`
		Unless  []written `json:"unless"`
	}
	read(path, &rules)
	var made policy
	for _, each := range rules {
		one := rule{each.ID, compiled(each.When), compiled(each.Require), compiled(each.Unless)}
		if each.Effect == "deny" {
			made.deny = append(made.deny, one)
		} else {
			made.allow = append(made.allow, one)
		}
	}
	return made
}

func readPeople(path string) []*session {
	var people []*session
	read(path, &people)
	return people
}

func (p policy) evaluate(seen *facts) (string, bool) {
	for index := range p.deny {
		each := &p.deny[index]
		if all(each.when, seen) && !(len(each.unless) > 0 && all(each.unless, seen)) {
			return each.id, false
		}
	}
	for index := range p.allow {
		each := &p.allow[index]
		if all(each.when, seen) && all(each.require, seen) {
			return each.id, true
		}
	}
	return "", false
}

func all(conditions []condition, seen *facts) bool {
	for _, holds := range conditions {
		if !holds(seen) {
			return false
		}
	}
	return true
}

func compiled(leaves []written) []condition {
	made := make([]condition, 0, len(leaves))
	for _, leaf := range leaves {
		made = append(made, compile(leaf))
	}
	return made
}

func compile(leaf written) condition {
	texts := map[string]bool{}
	for _, value := range leaf.Values {
		if text, ok := value.(string); ok {
			texts[text] = true
		}
	}
	name := leaf.Attribute
	switch leaf.Operator {
	case "is":
		wanted := leaf.Values[0]
		return func(seen *facts) bool { return seen.session.Facts[name] == wanted }
	case "max", "min":
		bound, ok := leaf.Values[0].(float64)
		if !ok { // an ordered word: none of the apps measured has such a rule met
			return func(*facts) bool { return false }
		}
		if leaf.Operator == "max" {
			return func(seen *facts) bool { age, known := seen.number(name); return known && age <= bound }
		}
		return func(seen *facts) bool { age, known := seen.number(name); return known && age >= bound }
	case "any_of":
		if name == "user.groups" {
			return func(seen *facts) bool {
				for _, group := range seen.session.Groups {
					if texts[group] {
						return true
					}
				}
				return false
			}
		}
		return func(seen *facts) bool { return texts[seen.text(name)] }
	case "none_of":
		return func(seen *facts) bool { value := seen.text(name); return value != "" && !texts[value] }
	case "under":
		return func(seen *facts) bool {
			for prefix := range texts {
				if seen.path == prefix || strings.HasPrefix(seen.path, strings.TrimSuffix(prefix, "/")+"/") {
					return true
				}
			}
			return false
		}
	}
	return func(*facts) bool { return false }
}

func (f *facts) number(name string) (float64, bool) {
	switch name {
	case "mfa.age":
		return f.mfaAge, true
	case "auth.age":
		return f.authAge, true
	}
	value, known := f.session.Facts[name].(float64)
	return value, known
}

func (f *facts) text(name string) string {
	switch name {
	case "http.method":
		return f.method
	case "http.path":
		return f.path
	case "net.zone":
		return f.session.Zone
	case "app":
		return f.session.App
	}
	value, _ := f.session.Facts[name].(string)
	return value
}

// buckets are token buckets by the generic cell rate algorithm.
type buckets struct {
	lock      sync.Mutex
	interval  time.Duration
	tolerance time.Duration
	full      map[string]time.Time
}

func newBuckets(rate, burst float64) *buckets {
	interval := time.Duration(float64(time.Second) / rate)
	return &buckets{interval: interval, tolerance: time.Duration(burst) * interval, full: map[string]time.Time{}}
}

func (b *buckets) take(name string, now time.Time) bool {
	b.lock.Lock()
	defer b.lock.Unlock()
	at := b.full[name]
	if at.Before(now) {
		at = now
	} else if at.Sub(now) > b.tolerance {
		return false
	}
	b.full[name] = at.Add(b.interval)
	return true
}
