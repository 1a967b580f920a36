// Command yardstick does to each request what the gateway does, in plain Go with the standard library only: what
// `make bench` holds the gateway against. It is no product: no limits, no pages, no revocation, no recovery.
//
//	yardstick -listen 127.0.0.1:1 -app http://127.0.0.1:2 -host H -rules rules.json -people people.json -journal FILE
//
// With -authorise it only answers: 204 with the assertion, or 403, for nginx's auth_request; nothing is recorded.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

type gateway struct {
	host      string
	sessions  map[[32]byte]*session
	policy    policy
	addresses *buckets
	users     *buckets
	signer    *signer
	trail     *trail
	proxy     http.Handler
}

func main() {
	listen := flag.String("listen", "", "address to listen on")
	app := flag.String("app", "", "URL of the app")
	host := flag.String("host", "", "the app's public host")
	rules := flag.String("rules", "", "file of the policy's rules")
	people := flag.String("people", "", "file of sessions")
	journal := flag.String("journal", "", "file to append records to")
	certificate := flag.String("certificate", "", "PEM of the server's certificate; with -key, TLS is spoken")
	key := flag.String("key", "", "PEM of its private key")
	authorise := flag.Bool("authorise", false, "answer whether a request may pass, and nothing else")
	flag.Parse()

	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	g := &gateway{
		host: *host, sessions: map[[32]byte]*session{}, addresses: newBuckets(1e6, 1e6), users: newBuckets(1e6, 1e6),
		signer: &signer{key: signing, signed: map[string]*assertion{}},
	}
	g.policy = readPolicy(*rules)
	for _, each := range readPeople(*people) {
		g.sessions[sha256.Sum256([]byte(each.Token))] = each
	}
	if *authorise {
		must(http.ListenAndServe(*listen, http.HandlerFunc(g.authorise)))
	}
	g.trail = openTrail(*journal)
	target, err := url.Parse(*app)
	must(err)
	g.proxy = &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { rewrite(r, target) },
		Transport:  &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256, DisableCompression: true},
		BufferPool: &pool{}, ErrorLog: log.New(io.Discard, "", 0),
	}
	server := &http.Server{Addr: *listen, Handler: http.HandlerFunc(g.serve), ErrorLog: log.New(io.Discard, "", 0)}
	if *certificate != "" {
		must(server.ListenAndServeTLS(*certificate, *key))
	}
	must(server.ListenAndServe())
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func read(path string, into any) {
	data, err := os.ReadFile(path)
	must(err)
	must(json.Unmarshal(data, into))
}

// serve judges a request, keeps the decision, passes the request on and keeps how it ended.
func (g *gateway) serve(w http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	found, reason := g.judge(r.Host, r.Method, r.RequestURI, r.RemoteAddr, r.Header, begun)
	if found == nil {
		http.Error(w, reason, http.StatusForbidden)
		return
	}
	id := newReference(begun)
	decided, err := json.Marshal(decisionOf(found, id, begun))
	must(err)
	g.trail.append(decided, true)
	header := r.Header
	header.Set("X-Sekisho-Request-Id", id)
	header.Set("X-Sekisho-Jwt-Assertion", g.signer.of(found.session, begun))
	header.Set("X-Forwarded-For", found.address)
	counted := &counter{ResponseWriter: w, begun: begun}
	g.proxy.ServeHTTP(counted, r)
	ended, err := json.Marshal(completionOf(counted, id, time.Now()))
	must(err)
	g.trail.append(ended, false)
}

// authorise answers nginx's auth_request.
func (g *gateway) authorise(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	found, reason := g.judge(
		r.Header.Get("X-Original-Host"), r.Header.Get("X-Original-Method"), r.Header.Get("X-Original-Uri"),
		r.Header.Get("X-Original-Address")+":0", r.Header, now,
	)
	if found == nil {
		http.Error(w, reason, http.StatusForbidden)
		return
	}
	w.Header().Set("X-Sekisho-Jwt-Assertion", g.signer.of(found.session, now))
	w.WriteHeader(http.StatusNoContent)
}

var identity = []string{
	"x-forwarded-", "remote-", "x-auth-request-", "x-pomerium-", "cf-", "x-goog-", "x-authentik-", "x-original-",
}

// rewrite makes the request that the app gets: without fields that could say who asks, without our cookie.
func rewrite(r *httputil.ProxyRequest, target *url.URL) {
	out := r.Out
	out.URL.Scheme, out.URL.Host, out.Host = target.Scheme, target.Host, r.In.Host
	for name := range out.Header {
		lower := strings.ToLower(name)
		for _, prefix := range identity {
			if strings.HasPrefix(lower, prefix) {
				delete(out.Header, name)
			}
		}
	}
	out.Header.Set("X-Forwarded-For", r.In.Header.Get("X-Forwarded-For"))
	proto := "http"
	if r.In.TLS != nil {
		proto = "https"
	}
	out.Header.Set("X-Forwarded-Proto", proto)
	out.Header.Set("X-Forwarded-Host", r.In.Host)
	var kept []string
	for _, part := range strings.Split(out.Header.Get("Cookie"), ";") {
		if part = strings.TrimSpace(part); !strings.HasPrefix(part, "__Host-sekisho") {
			kept = append(kept, part)
		}
	}
	out.Header.Set("Cookie", strings.Join(kept, "; "))
}

// pool lends the buffers that bodies are copied through.
type pool struct{ buffers sync.Pool }

func (p *pool) Get() []byte {
	if buffer, ok := p.buffers.Get().(*[]byte); ok {
		return *buffer
	}
	return make([]byte, 32*1024)
}

func (p *pool) Put(buffer []byte) { p.buffers.Put(&buffer) }

// counter notes what the answer was.
type counter struct {
	http.ResponseWriter
	begun  time.Time
	first  time.Duration
	status int
	bytes  int
}

func (c *counter) WriteHeader(status int) {
	if c.status == 0 {
		c.status, c.first = status, time.Since(c.begun)
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counter) Write(data []byte) (int, error) {
	if c.status == 0 {
		c.WriteHeader(http.StatusOK)
	}
	written, err := c.ResponseWriter.Write(data)
	c.bytes += written
	return written, err
}

func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func addressOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	return host
}
