package schemas

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

// ErrNoBuiltin says that there is no built-in schema of that name.
var ErrNoBuiltin = errors.New("schemas: no such built-in schema")

// SchemaError says that a schema itself cannot be used.
type SchemaError struct {
	// File is the name that the schema was loaded by.
	File string
	// Err is what is wrong with it.
	Err error
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
		return newValidationError("", invalid).list()
	}
	return shorten(strings.ReplaceAll(err.Error(), scheme, ""))
}

// Breach is one rule that a document breaks, at one place.
type Breach struct {
	// Field is the JSON pointer (RFC 6901) of what breaks the rule; empty is the whole document.
	Field string
	// Rule is the rule's place in the schema, for example "properties/value/type".
	Rule string
	// Message says what is wrong, cut short where it repeats much of the document.
	Message string
}

// ValidationError says that a document does not fit its schema.
type ValidationError struct {
	// Schema is the name of the schema.
	Schema string
	// Breaches are the rules that it breaks, in the order of their fields, ten at most.
	Breaches []Breach
	// More is how many breaches were left out.
	More int
}

const (
	// maxBreaches bounds how many breaches are told of one document.
	maxBreaches = 10
	// maxText bounds in bytes what each text of a breach repeats of the document: whoever sent it chose it.
	maxText = 200
)

func newValidationError(schema string, invalid *jsonschema.ValidationError) *ValidationError {
	e := &ValidationError{Schema: schema}
	for _, b := range breaches(invalid) {
		// The library goes through objects in the order of maps, that is, in none.
		i, _ := slices.BinarySearchFunc(e.Breaches, b, func(had, b Breach) int {
			return cmp.Or(comparePointers(had.Field, b.Field), strings.Compare(had.Rule, b.Rule), -1)
		})
		e.Breaches = slices.Insert(e.Breaches, i, b)
		if len(e.Breaches) > maxBreaches {
			e.Breaches = e.Breaches[:maxBreaches]
			e.More++
		}
	}
	for i, b := range e.Breaches {
		e.Breaches[i].Message = shorten(b.Message)
	}
	return e
}

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
		parts = append(parts, fmt.Sprintf("%s: %s (%s)", shorten(field), b.Message, shorten(b.Rule)))
	}
	if e.More > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", e.More))
	}
	return oneLine(strings.Join(parts, "; "))
}

// breaches flattens the library's tree of errors to its leaves: the causes.
func breaches(err *jsonschema.ValidationError) []Breach {
	if len(err.Causes) == 0 {
		return []Breach{{
			Field:   unescape(err.InstanceLocation),
			Rule:    unescape(strings.TrimPrefix(err.KeywordLocation, "/")),
			Message: err.Message,
		}}
	}
	var all []Breach
	for _, cause := range err.Causes {
		all = append(all, breaches(cause)...)
	}
	return all
}

// unescape undoes that the library writes pointers as parts of addresses.
func unescape(pointer string) string {
	if plain, err := url.PathUnescape(pointer); err == nil {
		return plain
	}
	return pointer
}

// comparePointers orders JSON pointers by their parts; indexes by their value.
func comparePointers(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a = cutPointer(a)
		y, b = cutPointer(b)
		i, errX := strconv.Atoi(x)
		j, errY := strconv.Atoi(y)
		order := strings.Compare(x, y)
		if errX == nil && errY == nil {
			order = cmp.Or(cmp.Compare(i, j), order)
		}
		if order != 0 {
			return order
		}
	}
	return cmp.Compare(len(a), len(b))
}

// cutPointer takes the first part off a pointer that has one.
func cutPointer(p string) (first, rest string) {
	if i := strings.IndexByte(p[1:], '/'); i >= 0 {
		return p[1 : i+1], p[i+1:]
	}
	return p[1:], ""
}

// shorten bounds a text, and cuts between characters.
func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// oneLine makes one line of a text, and leaves nothing in it that a terminal would obey.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.Join(strings.Fields(s), " "))
}
