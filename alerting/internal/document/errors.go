package document

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Error says what is wrong with a file, and where.
type Error struct {
	// Line and Column are where, both from 1.
	Line, Column int
	// Field is the JSON pointer of the place; empty for the file as a whole.
	Field string
	// Reason says what is wrong and what to do.
	Reason string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, oneLine(e.Reason))
	}
	return fmt.Sprintf("line %d, column %d: %s: %s", e.Line, e.Column, oneLine(e.Field), oneLine(e.Reason))
}

// longest is how much of a text an error shows: names and values come from the file.
const longest = 500

// oneLine cuts a text and escapes what is not printable.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s, string(unicode.ReplacementChar))
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "..."
	}
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}
