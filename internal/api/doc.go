// Package api answers over HTTP what the file knows: the XRPC queries of the
// lexicons and railyard's own routes under /v1.
//
// A handler returns a value or an error; one wrapper writes the answer, the
// error's name and status, and the metric. Every page is one short read
// transaction. Nothing here makes a request to the network or writes to the file.
package api
