package daemon

import "testing"

func TestPublicNames(t *testing.T) {
	const refused = "refused"
	for _, c := range []struct{ base, did, want string }{
		// The URL has the name, or the server says nothing more.
		{"https://pds.example.com", "did:web:pds.example.com", ""},
		{"https://PDS.example.com", "did:web:pds.EXAMPLE.com", ""},
		{"http://localhost:2583", "did:web:localhost", ""},
		{"http://localhost:2583", "did:web:localhost%3A2583", ""},
		{"http://pds:2583", "did:plc:z72i7hdynmk6r22z27h6tvur", ""},
		{"http://[::1]:2583", "did:plc:z72i7hdynmk6r22z27h6tvur", ""},
		// The URL is the operator's own way to it.
		{"http://pds:3000", "did:web:pds.example.com", "pds.example.com"},
		{"http://10.0.0.7:3000", "did:web:pds.example.com", "pds.example.com"},
		{"http://[fd00::7]:3000", "did:web:pds.example.com", "pds.example.com"},
		{"https://pds.corp.internal", "did:web:pds.example.com", "pds.example.com"},
		{"http://pds:3000", "did:web:pds.example.com%3A8443", "pds.example.com:8443"},
		// Names without a port are those of servers for development, which have it in documents.
		{"http://pds:3000", "did:web:localhost", "localhost:3000"},
		{"http://localhost:2583", "did:web:127.0.0.1", "127.0.0.1:2583"},
		{"http://localhost:3000", "did:web:localhost%3A2583", "localhost:2583"},
		{"http://localhost:3000", "did:web:LOCALHOST%3a2583", "localhost:2583"},
		{"http://pds", "did:web:localhost", "localhost"},
		// A server on the internet speaks for nobody else.
		{"https://pds.example.com", "did:web:bsky.social", refused},
		{"https://pds.example.com", "did:web:pds.example.com%3A8443", refused},
		{"http://9.9.9.9:3000", "did:web:pds.example.com", refused},
		{"http://[2606:4700::1]:3000", "did:web:pds.example.com", refused},
		// What is no name.
		{"http://pds:3000", "did:web:", refused},
		{"http://pds:3000", "did:web:pds.example.com:user", refused},
		{"http://pds:3000", "did:web:pds.example.com/x", refused},
		{"http://pds:3000", "did:web:a b", refused},
		{"http://pds:3000", "did:web:a%2Fb.example.com", refused},
		{"http://pds:3000", "did:web:a%40b.example.com", refused},
		{"http://pds:3000", "did:web:a%zz", refused},
	} {
		got, err := publicName(c.base, c.did)
		if err != nil {
			got = refused
		}
		if got != c.want {
			t.Errorf("%s says that it is %s: %q (%v), want %q", c.base, c.did, got, err, c.want)
		}
	}
}
