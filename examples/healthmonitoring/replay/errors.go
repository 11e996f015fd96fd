package replay

import "errors"

var (
	// ErrUnreadable means that the recording could not be read to its end. The row that has it is the last one.
	ErrUnreadable = errors.New("the recording cannot be read any further")
	// ErrTooLong means that a line is longer than 1 MiB. Its row holds the beginning.
	ErrTooLong = errors.New("the line is longer than 1 MiB")
	// ErrMalformed means that a line is no metric.
	ErrMalformed = errors.New("this is not a metric")
	// ErrNotFinite means that a value is NaN or infinite, which no rule can compare.
	ErrNotFinite = errors.New("the value is not a finite number")
)
