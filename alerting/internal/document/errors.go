package document

import "fmt"

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
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Reason)
	}
	return fmt.Sprintf("line %d, column %d: %s: %s", e.Line, e.Column, e.Field, e.Reason)
}
