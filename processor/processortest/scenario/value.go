package scenario

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"

	"github.com/go-json-experiment/json"
)

// Value is a key or a value in a scenario: text, or null. An integer is its decimal form.
type Value struct {
	Text string
	Null bool
	// Given says that the file has the field at all.
	Given bool
}

var integer = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// UnmarshalJSON implements json.Unmarshaler.
func (v *Value) UnmarshalJSON(data []byte) error {
	data = bytes.TrimSpace(data)
	*v = Value{Given: true}
	switch {
	case string(data) == "null":
		v.Null = true
	case integer.Match(data):
		v.Text = string(data)
	case len(data) > 0 && data[0] == '"':
		if err := json.Unmarshal(data, &v.Text); err != nil {
			return fmt.Errorf("read a text: %w", err)
		}
	default:
		return NotApplicable("the value %s: keys and values are texts, integers or null", brief(data))
	}
	return nil
}

// String shows the value as a file has it.
func (v Value) String() string {
	switch {
	case !v.Given:
		return "any"
	case v.Null:
		return "null"
	}
	return strconv.Quote(v.Text)
}

// matches reports whether text, nil for null, is what v asks for.
func (v Value) matches(text *string) bool {
	switch {
	case !v.Given:
		return true
	case v.Null || text == nil:
		return v.Null && text == nil
	}
	return v.Text == *text
}

// brief cuts what goes into a message.
func brief(data []byte) string {
	const limit = 60
	if len(data) > limit {
		return string(data[:limit]) + "..."
	}
	return string(data)
}
