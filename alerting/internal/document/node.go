package document

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what a node is.
type Kind int

// The kinds of nodes.
const (
	Object Kind = iota + 1
	Array
	String
	Number
	Bool
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case Object:
		return "an object"
	case Array:
		return "an array"
	case String:
		return "a string"
	case Number:
		return "a number"
	case Bool:
		return "true or false"
	}
	return "nothing"
}

// Node is one value of a file.
type Node struct {
	Kind Kind
	// Text is the text of a string, a number or a bool.
	Text string
	// Names are those of the members of an object, in the order of the file; Items are their values, or those of an array.
	Names []string
	Items []*Node
	// Pointer is the JSON pointer of the node. Line and Column, both from 1, are where the member begins that the node is the value
	// of, or the node itself if it is none.
	Pointer      string
	Line, Column int
	// ValueLine and ValueColumn are where the text begins, if it stands in the file as it is; else both are 0.
	ValueLine, ValueColumn int
}

// Errorf makes an error at the node.
func (n *Node) Errorf(format string, args ...any) *Error {
	return &Error{Line: n.Line, Column: n.Column, Field: n.Pointer, Reason: fmt.Sprintf(format, args...)}
}

// Fields returns the members of an object by name. A name that is not known is an error.
func (n *Node) Fields(known ...string) (map[string]*Node, error) {
	if n.Kind != Object {
		return nil, n.Errorf("must be an object, not %s", n.Kind)
	}
	fields := make(map[string]*Node, len(n.Names))
	for i, name := range n.Names {
		if !slices.Contains(known, name) {
			return nil, n.Items[i].Errorf("there is no such field; known here: %s", strings.Join(known, ", "))
		}
		fields[name] = n.Items[i]
	}
	return fields, nil
}

// AsList returns the elements of an array; what names them in an error.
func (n *Node) AsList(what string) ([]*Node, error) {
	if n.Kind != Array {
		return nil, n.Errorf("must be an array of %s, not %s", what, n.Kind)
	}
	return n.Items, nil
}

// AsString returns the text of a string.
func (n *Node) AsString() (string, error) {
	if n.Kind != String {
		return "", n.Errorf("must be a string, not %s", n.kind())
	}
	return n.Text, nil
}

// kind is Kind as errors say it.
func (n *Node) kind() string {
	if n.Kind == Number {
		return "such a number"
	}
	return n.Kind.String()
}

// AsNumber returns a finite number.
func (n *Node) AsNumber() (float64, error) {
	if n.Kind == Number {
		if v, err := strconv.ParseFloat(n.Text, 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return v, nil
		}
	}
	return 0, n.Errorf("must be a finite number, not %s", n.kind())
}

// AsInt returns a whole number.
func (n *Node) AsInt() (int, error) {
	if n.Kind == Number {
		if v, err := strconv.Atoi(n.Text); err == nil {
			return v, nil
		}
	}
	return 0, n.Errorf("must be a whole number, not %s", n.kind())
}

// legalDuration is what schemas take for one, and a sign so that a negative one gets an answer of its own. Go takes more, such as
// "+2m" and ".5h".
var legalDuration = regexp.MustCompile(`^-?(0|([0-9]+(\.[0-9]+)?(ns|us|\x{b5}s|ms|s|m|h))+)$`)

// AsDuration returns a duration that is not negative.
func (n *Node) AsDuration() (time.Duration, error) {
	text, err := n.AsString()
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	if err != nil || !legalDuration.MatchString(text) {
		return 0, n.Errorf(`%q is no duration: write one such as "90s", "2m" or "1h30m"`, text)
	}
	if d < 0 {
		return 0, n.Errorf("%q is negative: a duration starts at \"0s\"", text)
	}
	return d, nil
}

// AsTime returns a time.
func (n *Node) AsTime() (time.Time, error) {
	text, err := n.AsString()
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, n.Errorf(`%q is no time: write one such as "2026-01-31T12:00:00Z"`, text)
	}
	return t, nil
}

// AsStrings returns an object of strings.
func (n *Node) AsStrings() (map[string]string, error) {
	if n.Kind != Object {
		return nil, n.Errorf("must be an object of strings, not %s", n.Kind)
	}
	texts := make(map[string]string, len(n.Names))
	for i, name := range n.Names {
		text, err := n.Items[i].AsString()
		if err != nil {
			return nil, err
		}
		texts[name] = text
	}
	return texts, nil
}

// OneOf returns what a string stands for.
func OneOf[T any](n *Node, meanings map[string]T) (T, error) {
	text, err := n.AsString()
	if err != nil {
		var zero T
		return zero, err
	}
	meaning, ok := meanings[text]
	if !ok {
		return meaning, n.Errorf("%q is not known here: use %s", text, strings.Join(slices.Sorted(maps.Keys(meanings)), ", "))
	}
	return meaning, nil
}

// Plain returns the value as encoding/json would decode it.
func (n *Node) Plain() any {
	switch n.Kind {
	case Object:
		m := make(map[string]any, len(n.Names))
		for i, name := range n.Names {
			m[name] = n.Items[i].Plain()
		}
		return m
	case Array:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = item.Plain()
		}
		return list
	case Number:
		v, err := strconv.ParseFloat(n.Text, 64)
		if err != nil {
			return n.Text
		}
		return v
	case Bool:
		return n.Text == "true"
	}
	return n.Text
}
