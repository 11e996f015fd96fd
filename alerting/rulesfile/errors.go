package rulesfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rossby-streams/rossby/alerting/internal/document"
)

// ErrRules is wrapped by every error about a rules file.
var ErrRules = errors.New("rulesfile: the rules file is not valid")

// Error says what is wrong with a rules file, and where. It is one line.
type Error struct {
	// Line and Column are where, both from 1.
	Line, Column int
	// Field is the JSON pointer of the field; empty for the file as a whole.
	Field string
	// Reason says what is wrong and what to do.
	Reason string
}

// Error implements error.
func (e *Error) Error() string {
	return (&document.Error{Line: e.Line, Column: e.Column, Field: e.Field, Reason: e.Reason}).Error()
}

// Unwrap returns ErrRules.
func (e *Error) Unwrap() error { return ErrRules }

// asError makes an *Error of what reading has found.
func asError(err error) error {
	var at *document.Error
	if !errors.As(err, &at) {
		return fmt.Errorf("%w: %w", ErrRules, err)
	}
	return &Error{Line: at.Line, Column: at.Column, Field: at.Field, Reason: at.Reason}
}

// EvaluationError says why an expression has no result, for one value.
type EvaluationError struct{ Err error }

// Error implements error.
func (e *EvaluationError) Error() string {
	first, _, _ := strings.Cut(e.Err.Error(), "\n")
	return "the expression has failed: " + first
}

// Unwrap returns what the library says.
func (e *EvaluationError) Unwrap() error { return e.Err }
