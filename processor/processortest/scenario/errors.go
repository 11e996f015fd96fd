package scenario

import (
	"errors"
	"fmt"
)

// ErrNotApplicable is wrapped by the reason for which a case cannot be run here: it asks for something that the runner, or the
// library, does not have. Such a case is reported by its name; it never counts as passed.
var ErrNotApplicable = errors.New("not applicable")

// NotApplicable returns an error that wraps ErrNotApplicable. Bindings return it for what they cannot express.
func NotApplicable(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNotApplicable, fmt.Sprintf(format, args...))
}

// ErrFormat is wrapped by every error about a file that is not in the format.
var ErrFormat = errors.New("not in the scenario format")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}
