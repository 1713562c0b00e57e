package archive

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"

	"railyard/internal/atproto"
	"railyard/internal/dagcbor"
	"railyard/internal/test/msttest"
)

const testDID = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"

var now = time.Date(2026, 7, 4, 12, 0, 0, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// made is a repo to be written as a CAR.
type made struct {
	version int64
	rev     atproto.TID
	records map[string][]byte // blocks by path
	key     atcrypto.PrivateKey
}

func newRepo(t testing.TB, paths ...string) *made {
	t.Helper()
	key, err := atcrypto.GeneratePrivateKeyK256()
	must(t, err)
	m := &made{version: 3, rev: atproto.TIDAt(now), records: map[string][]byte{}, key: key}
	for _, path := range paths {
		m.records[path] = record(path)
	}
	return m
}

// record is the block {"$type": ...}.
func record(text string) []byte {
	return dagcbor.AppendText(dagcbor.AppendText(dagcbor.AppendMap(nil, 1), "$type"), text)
}

func (m *made) authority(t testing.TB) Authority {
	t.Helper()
	pub, err := m.key.PublicKey()
	must(t, err)
	auth, err := Given(pub)
	must(t, err)
	return auth
}

// document is a DID document with the key of the repo.
func (m *made) document(t testing.TB, did string) []byte {
	t.Helper()
	pub, err := m.key.PublicKey()
	must(t, err)
	doc, err := json.Marshal(map[string]any{
		"id": did,
		"verificationMethod": []any{map[string]string{
			"id": did + "#atproto", "type": "Multikey", "controller": did, "publicKeyMultibase": pub.Multibase(),
		}},
		"service": []any{map[string]string{
			"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.example.com",
		}},
	})
	must(t, err)
	return doc
}

// blocks returns the root, then commit, nodes and records, the last two sorted.
func (m *made) blocks(t testing.TB) (root []byte, commit []byte, nodes, records [][]byte) {
	t.Helper()
	content := map[string][]byte{}
	for path, block := range m.records {
		content[path] = atproto.DigestOf(block).AppendCID(nil)
	}
	data, tree := msttest.Build(content)
	unsigned := m.commit(data, nil)
	sig, err := m.key.HashAndSign(unsigned)
	must(t, err)
	commit = m.commit(data, sig)
	for _, node := range tree {
		nodes = append(nodes, node)
	}
	slices.SortFunc(nodes, slices.Compare)
	for _, path := range slices.Sorted(maps.Keys(m.records)) {
		records = append(records, m.records[path])
	}
	return atproto.DigestOf(commit).AppendCID(nil), commit, nodes, records
}

func (m *made) commit(data atproto.Digest, sig []byte) []byte {
	fields := 5
	if sig != nil {
		fields++
	}
	b := dagcbor.AppendMap(nil, fields)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "did"), testDID)
	b = dagcbor.AppendText(dagcbor.AppendText(b, "rev"), m.rev.String())
	if sig != nil {
		b = dagcbor.AppendBytes(dagcbor.AppendText(b, "sig"), sig)
	}
	b = dagcbor.AppendLink(dagcbor.AppendText(b, "data"), data)
	b = dagcbor.AppendNull(dagcbor.AppendText(b, "prev"))
	return dagcbor.AppendInt(dagcbor.AppendText(b, "version"), m.version)
}

// car writes everything.
func (m *made) car(t testing.TB) []byte {
	t.Helper()
	root, commit, nodes, records := m.blocks(t)
	return writeCAR(root, append(append([][]byte{commit}, nodes...), records...)...)
}

func writeCAR(root []byte, blocks ...[]byte) []byte {
	header := dagcbor.AppendArray(dagcbor.AppendText(dagcbor.AppendMap(nil, 2), "roots"), 1)
	header = dagcbor.AppendCID(header, root)
	header = dagcbor.AppendInt(dagcbor.AppendText(header, "version"), 1)
	car := append(binary.AppendUvarint(nil, uint64(len(header))), header...)
	for _, block := range blocks {
		car = binary.AppendUvarint(car, uint64(atproto.CIDLen+len(block)))
		car = append(atproto.DigestOf(block).AppendCID(car), block...)
	}
	return car
}

// sections cuts a CAR into its header and blocks.
func sections(car []byte) (parts [][]byte) {
	for len(car) > 0 {
		n, width := binary.Uvarint(car)
		parts = append(parts, car[:width+int(n)])
		car = car[width+int(n):]
	}
	return parts
}

func paths(nsid string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("%s/%03d", nsid, i))
	}
	return list
}
