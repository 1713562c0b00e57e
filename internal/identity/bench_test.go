package identity

import "testing"

// A line of the directory's log, as the export has them.
func BenchmarkParseLogEntry(b *testing.B) {
	line := []byte(`{"did":"did:plc:ewvi7nxzyoun6zhxrhs64oiz","operation":{"sig":"lza4at_jCtGo_TYgL5PC1ZNP7lhF4DV8H50LWHhvdHcB143x1wEwqZ43xvV36Pws6OOnJLJrkibEUFDFqkhIhg","prev":null,"type":"plc_operation","services":{"atproto_pds":{"type":"AtprotoPersonalDataServer","endpoint":"https://pds.example.com"}},"alsoKnownAs":["at://alice.example.com"],"rotationKeys":["did:key:zQ3shhCGUqDKjStzuDxPkTxN6ujddP4RkEKJJouJGRRkaLGbg","did:key:zQ3shpKnbdPx3g3CmPf5cRVTPe1HtSwVn5ish3wSnDPQCbLJK"],"verificationMethods":{"atproto":"did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"}},"cid":"bafyreigp6shzy6dlcxuowwoxz7u5nemdrkad2my5zwzpwilcnhih7bw6zm","nullified":false,"createdAt":"2023-03-01T19:44:21.186Z"}`)
	for b.Loop() {
		e, err := ParseLogEntry(line)
		if err != nil || e.signingKey() == "" {
			b.Fatal(e, err)
		}
	}
}
