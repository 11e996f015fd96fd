// Package schemas validates JSON against JSON Schemas (draft 2020-12) that people write in files.
//
//	schema, err := schemas.Builtin("metric")
//	topic := stream.Topic[Metric]{Name: "metrics", Codec: schemas.Codec[Metric](schema)}
//
// # Vocabulary
//
//   - schema: a compiled JSON Schema. edge: where bytes become values or values bytes; validation happens there and nowhere else.
//   - breach: one rule of a schema that a document breaks, at one place.
//
// # Guarantees
//
//   - A document is valid as draft 2020-12 says, formats (date-time and the rest) included.
//   - The error of a document that is not names every breach, up to a bound: the field, as a JSON pointer, and the rule.
//   - Nothing is fetched: a $ref leads to the same file or to another one of the same fs.FS, or is an error.
//   - Documents that try to do harm are refused: nesting deeper than 128, numbers of more than 1000 digits or that no float64 can
//     hold, duplicate names, invalid UTF-8. A schema that loops is an error, not a hang. Errors are one line of bounded length
//     without control characters, whatever the document holds.
//
// # Caveats
//
//   - A valid document costs about what decoding it costs, as long as the schema says no more than type, properties, required,
//     additionalProperties true or false, minLength, maxLength, an enum of strings and date-time, as those of metrics and syslogs
//     do. Any other keyword, and every refusal, takes some five to ten times as long.
//   - Regular expressions are Go's (RE2): they cannot run away, and have no look-around.
package schemas
