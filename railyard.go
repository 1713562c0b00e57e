// Package railyard holds the one document that the whole project is about: the
// schema of the index file.
//
// The program is cmd/railyard; the life of a frame starts in internal/firehose.
package railyard

import "embed"

// Schema makes a new index file. It is documentation: every table and column
// says what it means.
//
//go:embed schema.sql
var Schema string

// Migrations holds the steps from one version of the schema to the next, in
// files db/migrations/NNNN_name.sql, where NNNN is the version that the step
// leads to. The first version has none.
//
//go:embed db/migrations
var Migrations embed.FS
