package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const syncInterval = 10 * time.Millisecond

// trail appends records to one file, each chained to the one before; all that wait are written together.
type trail struct {
	lock    sync.Mutex
	pending bytes.Buffer
	waiting []chan struct{}
	wake    chan struct{}
	file    *os.File
	prev    []byte
	seq     int
	salts   []byte
}

func openTrail(path string) *trail {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	must(err)
	t := &trail{wake: make(chan struct{}, 1), file: file, prev: bytes.Repeat([]byte("0"), 64)}
	go t.write()
	return t
}

// append chains one record, a JSON object, and where `wait` is true returns when write() has.
func (t *trail) append(event []byte, wait bool) {
	t.lock.Lock()
	if len(t.salts) == 0 {
		t.salts = make([]byte, 4096)
		_, err := rand.Read(t.salts)
		must(err)
	}
	salt := t.salts[:16]
	t.salts = t.salts[16:]
	t.seq++
	body := make([]byte, 0, len(event)+160)
	body = append(body, `{"v":1,"writer":"worker-0","epoch":1,"seq":`...)
	body = strconv.AppendInt(body, int64(t.seq), 10)
	body = append(body, `,"prev":"`...)
	body = append(body, t.prev...)
	body = append(body, `",`...)
	body = append(body, event[1:]...)
	hash := sha256.New()
	hash.Write(salt)
	hash.Write(body)
	t.prev = hex.AppendEncode(t.prev[:0], hash.Sum(nil))
	t.pending.WriteString(`{"salt":"`)
	t.pending.WriteString(hex.EncodeToString(salt))
	t.pending.WriteString(`","body":`)
	t.pending.Write(body)
	t.pending.WriteString("}\n")
	var done chan struct{}
	if wait {
		done = make(chan struct{})
		t.waiting = append(t.waiting, done)
	}
	t.lock.Unlock()
	if wait {
		select {
		case t.wake <- struct{}{}:
		default:
		}
		<-done
	}
}

// write makes every file call: whatever is pending in one write(), and an fdatasync each 10 ms.
func (t *trail) write() {
	synced := time.Now()
	var spare bytes.Buffer
	for range t.wake {
		t.lock.Lock()
		t.pending, spare = spare, t.pending
		waiting := t.waiting
		t.waiting = nil
		t.lock.Unlock()
		_, err := t.file.Write(spare.Bytes())
		must(err)
		spare.Reset()
		for _, done := range waiting {
			close(done)
		}
		if time.Since(synced) >= syncInterval {
			must(syscall.Fdatasync(int(t.file.Fd())))
			synced = time.Now()
		}
	}
}
