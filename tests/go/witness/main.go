// Cosigned checks our cosignatures with another implementation: github.com/transparency-dev/formats/note.
//
//	cosigned check VKEY < NOTE   prints the time of the cosignature that VKEY made of NOTE
//	cosigned sign NAME < TEXT    a note cosigned with a new key: first line the verifier key, then the note
//
// Any disagreement ends it with status 1 and says what disagrees.
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"

	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

func main() {
	err := fmt.Errorf("usage: cosigned check VKEY | cosigned sign NAME")
	if len(os.Args) == 3 && os.Args[1] == "check" {
		err = check(os.Args[2])
	} else if len(os.Args) == 3 && os.Args[1] == "sign" {
		err = sign(os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cosigned:", err)
		os.Exit(1)
	}
}

func check(key string) error {
	verifier, err := formats.NewVerifierForCosignatureV1(key)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	time, err := formats.CoSigV1Timestamp(opened.Sigs[0])
	if err != nil {
		return err
	}
	fmt.Println(time.Unix())
	return nil
}

func sign(name string) error {
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return err
	}
	signer, err := formats.NewSignerForCosignatureV1(private)
	if err != nil {
		return err
	}
	key, err := formats.VKeyToCosignatureV1(public)
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
	fmt.Printf("%s\n%s", key, signed)
	return nil
}
