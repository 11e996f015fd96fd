// Package document reads the files that people write for alerting, JSON or YAML, into one tree in which everything has its place: a
// mistake is an error with line and column, and with what to do. A file whose first character is { or [ is JSON, any other is YAML.
//
// Both are read strictly and within bounds: no name twice in an object, no null, no anchors, aliases, merges or tags in YAML, one
// document per file, 1 MiB, ten levels.
package document
