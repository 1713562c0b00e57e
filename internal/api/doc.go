// Package api answers over HTTP what the file knows: the XRPC queries of the
// lexicons and railyard's own routes under /v1.
//
// One table has the routes with all that is said of them (routes.go): a new one is an
// entry there, and its answer a struct with doc tags.
//
// A handler returns a value or an error; one wrapper writes the answer, the
// error's name and status, and the metric; the page for people is the exception,
// it writes HTML. Every answer comes from short read transactions. Nothing here
// makes a request to the network or writes to the file; a wish for a crawl goes to
// whoever crawls, if anybody does.
package api
