// Verifies an exported ledger with the code of Go's own checksum database, and nothing of ours.
//
//	verify FOLDER VKEY        verifies the folder, prints the number of entries
//	verify FOLDER VKEY -      verifies it once for every line of standard input, "FILE AT MASK":
//	                          with the byte AT of FILE changed by MASK; prints "accepted" or why not
//
// What it knows besides golang.org/x/mod/sumdb is where C2SP tlog-tiles puts files, and how it
// writes bundles of entries.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// A folder of files, one byte of which may be changed.
type folder struct {
	path string
	file string
	at   int
	mask byte
}

func (f *folder) read(path string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(f.path, path))
	if err != nil {
		return nil, err
	}
	if path == f.file {
		if f.at >= len(data) {
			return nil, fmt.Errorf("%s has no byte %d", path, f.at)
		}
		data[f.at] ^= f.mask
	}
	return data, nil
}

// The coordinates of x/mod begin with the height of the tiles, those of C2SP do not.
func path(tile tlog.Tile, entries bool) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height))
	if entries {
		path = "entries/" + strings.TrimPrefix(path, "0/")
	}
	return "tile/" + path
}

func (f *folder) Height() int { return height }

func (f *folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f *folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	for i, tile := range tiles {
		data, err := f.read(path(tile, false))
		if err != nil {
			return nil, err
		}
		all[i] = data
	}
	return all, nil
}

func (f *folder) tree(vkey string) (tlog.Tree, error) {
	var tree tlog.Tree
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tree, err
	}
	data, err := f.read("checkpoint")
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tree, errors.New("not a checkpoint of this log")
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != len(tree.Hash) {
		return tree, errors.New("the root is no hash")
	}
	copy(tree.Hash[:], root)
	return tree, nil
}

func (f *folder) verify(vkey string) (int64, error) {
	tree, err := f.tree(vkey)
	if err != nil {
		return 0, err
	}
	// Every hash that comes out of this reader was authenticated by the root.
	hashes := tlog.TileHashReader(tree, f)
	for first := int64(0); first < tree.N; first += 1 << height {
		count := tree.N - first
		if count > 1<<height {
			count = 1 << height
		}
		tile := tlog.Tile{H: height, L: 0, N: first >> height, W: int(count)}
		entries, err := f.entries(path(tile, true))
		if err != nil {
			return 0, err
		}
		if int64(len(entries)) != count {
			return 0, fmt.Errorf("%d entries instead of %d", len(entries), count)
		}
		indexes := make([]int64, count)
		for i := range indexes {
			indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
		}
		logged, err := hashes.ReadHashes(indexes)
		if err != nil {
			return 0, err
		}
		for i, entry := range entries {
			if tlog.RecordHash(entry) != logged[i] {
				return 0, fmt.Errorf("entry %d is not the one that was logged", first+int64(i))
			}
		}
		for _, index := range []int64{first, first + count - 1} {
			if err := proves(tree, hashes, index, tlog.RecordHash(entries[index-first])); err != nil {
				return 0, err
			}
		}
	}
	return tree.N, nil
}

// An inclusion proof of the entry, and a consistency proof of the tree that ends with it.
func proves(tree tlog.Tree, hashes tlog.HashReader, index int64, leaf tlog.Hash) error {
	record, err := tlog.ProveRecord(tree.N, index, hashes)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(record, tree.N, tree.Hash, index, leaf); err != nil {
		return err
	}
	old, err := tlog.TreeHash(index+1, hashes)
	if err != nil {
		return err
	}
	prefix, err := tlog.ProveTree(tree.N, index+1, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(prefix, tree.N, tree.Hash, index+1, old)
}

func (f *folder) entries(path string) ([][]byte, error) {
	data, err := f.read(path)
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(data) > 0 {
		if len(data) < 2 {
			return nil, errors.New("a bundle ends inside a length")
		}
		length := int(binary.BigEndian.Uint16(data))
		if len(data) < 2+length {
			return nil, errors.New("a bundle ends inside an entry")
		}
		entries = append(entries, data[2:2+length])
		data = data[2+length:]
	}
	return entries, nil
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: verify FOLDER VKEY [-]")
		os.Exit(2)
	}
	log := folder{path: os.Args[1]}
	vkey := os.Args[2]
	if len(os.Args) == 3 {
		entries, err := log.verify(vkey)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(entries)
		return
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		changed := log
		if _, err := fmt.Sscan(lines.Text(), &changed.file, &changed.at, &changed.mask); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		if _, err := changed.verify(vkey); err != nil {
			fmt.Println("refused:", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("accepted")
		}
	}
}
