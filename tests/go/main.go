// Agree checks what Sekisho signs and proves with another implementation: golang.org/x/mod/sumdb/{note,tlog}.
//
//	agree check KEY.pub LOG CLAIMS.json   the checkpoint, every tile, and the proofs that CLAIMS.json lists
//	agree sign NAME < TEXT                a note signed with a new key: first line the verifier key, then the note
//
// Any disagreement ends it with status 1 and says what disagrees.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// claims is what Sekisho says of its log: proof files, and consistency proofs between sizes of it.
type claims struct {
	Proofs      []string      `json:"proofs"`
	Consistency []consistency `json:"consistency"`
}

type consistency struct {
	OldSize int64    `json:"old_size"`
	OldRoot string   `json:"old_root"`
	NewSize int64    `json:"new_size"`
	NewRoot string   `json:"new_root"`
	Path    []string `json:"path"`
}

// tiles reads C2SP tlog-tiles: the paths are those of the go command's database without the height.
type tiles struct{ folder string }

func (t tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.folder, filepath.FromSlash(path)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func main() {
	err := fmt.Errorf("usage: agree check KEY LOG CLAIMS | agree sign NAME")
	if len(os.Args) == 5 && os.Args[1] == "check" {
		err = check(os.Args[2], os.Args[3], os.Args[4])
	} else if len(os.Args) == 3 && os.Args[1] == "sign" {
		err = sign(os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "agree:", err)
		os.Exit(1)
	}
}

func sign(name string) error {
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, signer)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n%s", public, signed)
	return nil
}

func check(keyFile, log, claimsFile string) error {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	if err != nil {
		return err
	}
	signed, err := os.ReadFile(filepath.Join(log, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := opened(signed, verifier)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, tiles{log})
	entries, err := checkTree(tree, hashes, log)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(claimsFile)
	if err != nil {
		return err
	}
	var said claims
	if err := json.Unmarshal(data, &said); err != nil {
		return err
	}
	for _, name := range said.Proofs {
		if err := checkProof(name, verifier, hashes, entries); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, claim := range said.Consistency {
		if err := checkConsistency(claim, hashes); err != nil {
			return fmt.Errorf("%d to %d: %w", claim.OldSize, claim.NewSize, err)
		}
	}
	fmt.Printf("{\"size\":%d,\"proofs\":%d,\"consistency\":%d}\n", tree.N, len(said.Proofs), len(said.Consistency))
	return nil
}

// opened returns the tree of a C2SP checkpoint that the verifier's key signed.
func opened(signed []byte, verifier note.Verifier) (tlog.Tree, error) {
	read, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(read.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tlog.Tree{}, fmt.Errorf("no checkpoint of %s: %q", verifier.Name(), read.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// checkTree compares the root and every leaf with what the tiles and the entry bundles hold; it returns the entries.
func checkTree(tree tlog.Tree, hashes tlog.HashReader, log string) ([][]byte, error) {
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return nil, err
	}
	if root != tree.Hash {
		return nil, fmt.Errorf("root: the tiles give %v, the checkpoint says %v", root, tree.Hash)
	}
	var entries [][]byte
	for index := int64(0); index < tree.N; index += 256 {
		tile := tlog.Tile{H: 8, L: 0, N: index / 256, W: 256}
		if tree.N-index < 256 {
			tile.W = int(tree.N - index)
		}
		path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		bundle, err := os.ReadFile(filepath.Join(log, filepath.FromSlash(path)))
		if err != nil {
			return nil, err
		}
		for len(bundle) > 0 {
			size := int(binary.BigEndian.Uint16(bundle))
			entries = append(entries, bundle[2:2+size])
			bundle = bundle[2+size:]
		}
	}
	if int64(len(entries)) != tree.N {
		return nil, fmt.Errorf("entries: got %d, expected %d", len(entries), tree.N)
	}
	for index, entry := range entries {
		found, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(index))})
		if err != nil {
			return nil, err
		}
		if found[0] != tlog.RecordHash(entry) {
			return nil, fmt.Errorf("leaf %d: the tile has another hash than the entry", index)
		}
	}
	return entries, nil
}

// checkProof reads a C2SP tlog-proof, computes its record's leaf, and compares the path with one of its own making.
func checkProof(name string, verifier note.Verifier, hashes tlog.HashReader, entries [][]byte) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	head, checkpoint, found := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("not a tlog-proof")
	}
	tree, err := opened(checkpoint, verifier)
	if err != nil {
		return err
	}
	record, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var path tlog.RecordProof
	for _, line := range lines[3:] {
		node, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		path = append(path, node)
	}
	entry, err := entryOf(record)
	if err != nil {
		return err
	}
	if !bytes.Equal(entry, entries[index]) {
		return fmt.Errorf("the record's entry is %x, that of leaf %d is %x", entry, index, entries[index])
	}
	if err := tlog.CheckRecord(path, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return err
	}
	own, err := tlog.ProveRecord(tree.N, index, hashes)
	if err != nil {
		return err
	}
	if fmt.Sprint(own) != fmt.Sprint(path) {
		return fmt.Errorf("path: got %v, expected %v", path, own)
	}
	return nil
}

// entryOf returns SHA-256(salt, body) of a journal's line {"salt":"<32 hex>","body":{…}}\n.
func entryOf(line []byte) ([]byte, error) {
	const before, between, after = `{"salt":"`, `","body":`, "}\n"
	end := len(line) - len(after)
	start := len(before) + 32 + len(between)
	if end < start || string(line[start-len(between):start]) != between || string(line[end:]) != after {
		return nil, fmt.Errorf("not a line of a journal: %.80q", line)
	}
	salt, err := hex.DecodeString(string(line[len(before) : len(before)+32]))
	if err != nil {
		return nil, err
	}
	entry := sha256.Sum256(append(salt, line[start:end]...))
	return entry[:], nil
}

func checkConsistency(claim consistency, hashes tlog.HashReader) error {
	var path tlog.TreeProof
	for _, node := range claim.Path {
		hash, err := tlog.ParseHash(node)
		if err != nil {
			return err
		}
		path = append(path, hash)
	}
	own, err := tlog.ProveTree(claim.NewSize, claim.OldSize, hashes)
	if err != nil {
		return err
	}
	if fmt.Sprint(own) != fmt.Sprint(path) {
		return fmt.Errorf("path: got %v, expected %v", path, own)
	}
	oldRoot, err := tlog.TreeHash(claim.OldSize, hashes)
	if err != nil {
		return err
	}
	newRoot, err := tlog.TreeHash(claim.NewSize, hashes)
	if err != nil {
		return err
	}
	if hex.EncodeToString(oldRoot[:]) != claim.OldRoot || hex.EncodeToString(newRoot[:]) != claim.NewRoot {
		return fmt.Errorf("roots: got %s, %s, expected %x, %x", claim.OldRoot, claim.NewRoot, oldRoot[:], newRoot[:])
	}
	return tlog.CheckTree(path, claim.NewSize, newRoot, claim.OldSize, oldRoot)
}
