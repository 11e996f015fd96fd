package schemas

import (
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// ErrNoBuiltin says that there is no built-in schema of that name.
var ErrNoBuiltin = errors.New("schemas: no such built-in schema")

// SchemaError says that a schema itself cannot be used.
type SchemaError struct {
	File string
	Err  error
}

// Error implements error, in one line.
func (e *SchemaError) Error() string {
	return fmt.Sprintf("schemas: the schema %s cannot be used: %s", e.File, oneLine(reason(e.Err)))
}

// Unwrap gives the cause.
func (e *SchemaError) Unwrap() error { return e.Err }

// reason says what is wrong with a schema in the words of the schema's own rules, where it breaks those.
func reason(err error) string {
	var invalid *jsonschema.ValidationError
	if errors.As(err, &invalid) {
		return (&ValidationError{Breaches: breaches(invalid)}).list()
	}
	return strings.ReplaceAll(err.Error(), scheme, "")
}

// Breach is one rule that a document breaks, at one place.
type Breach struct {
	// Field is the JSON pointer of what breaks the rule; empty is the whole document.
	Field string
	// Rule is the rule's place in the schema, for example "properties/value/type".
	Rule string
	// Message says what is wrong.
	Message string
}

// ValidationError says that a document does not fit its schema.
type ValidationError struct {
	Schema string
	// Breaches are the rules that it breaks, at most maxBreaches.
	Breaches []Breach
	// More is how many breaches were left out.
	More int
}

// maxBreaches bounds how much is said of one document.
const maxBreaches = 10

// Error implements error, in one line.
func (e *ValidationError) Error() string {
	return fmt.Sprintf("schemas: not a valid %s: %s", e.Schema, e.list())
}

func (e *ValidationError) list() string {
	parts := make([]string, 0, len(e.Breaches)+1)
	for _, b := range e.Breaches {
		field := b.Field
		if field == "" {
			field = "the document"
		}
		parts = append(parts, fmt.Sprintf("%s: %s (%s)", field, b.Message, b.Rule))
	}
	if e.More > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", e.More))
	}
	return oneLine(strings.Join(parts, "; "))
}

// breaches flattens the library's tree of errors to its leaves: the causes.
func breaches(err *jsonschema.ValidationError) []Breach {
	if len(err.Causes) == 0 {
		return []Breach{{Field: err.InstanceLocation, Rule: strings.TrimPrefix(err.KeywordLocation, "/"), Message: err.Message}}
	}
	var all []Breach
	for _, cause := range err.Causes {
		all = append(all, breaches(cause)...)
	}
	return all
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
