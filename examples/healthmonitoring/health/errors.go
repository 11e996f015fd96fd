package health

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// ErrRules is in the chain of every error of ParseRules.
var ErrRules = errors.New("the rules are not valid")

// RulesError tells what is wrong with a rules file. Its text is one line; the caller puts the name of the file before it.
type RulesError struct {
	// Line and Column say where, counted from 1; the column counts characters.
	Line, Column int
	// Field is the JSON pointer of the field concerned, for example "/rules/0/clear"; empty for the whole file.
	Field string
	// Reason says what is wrong and what to do.
	Reason string
}

// Error returns the one line.
func (e *RulesError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, oneLine(e.Reason))
	}
	return fmt.Sprintf("line %d, column %d: %s: %s", e.Line, e.Column, oneLine(e.Field), oneLine(e.Reason))
}

// oneLine escapes what is not printable: names of fields come from the file and may hold anything.
func oneLine(s string) string {
	const longest = 300
	s = cut(s, longest)
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// Unwrap returns ErrRules.
func (e *RulesError) Unwrap() error { return ErrRules }
