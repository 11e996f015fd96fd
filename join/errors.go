package join

import (
	"errors"
	"fmt"
)

// errNoKey is why a join refuses a record. It ends in the dead letter, or in the error of App.Run under the policy Stop.
var errNoKey = errors.New("the record has no key, and a join needs one: give it a key with processor.KeyBy before the join")

// ErrFull says that a join keeps as many records of a partition as its Window.MaxRows allows, and has refused one more.
var ErrFull = errors.New("the join is full")

// full is ErrFull with what to do.
func full(maxRows int) error {
	return fmt.Errorf("%w: it keeps %d records of this partition: redrive the record once stream time has passed their windows, or give the window a larger MaxRows", ErrFull, maxRows)
}
