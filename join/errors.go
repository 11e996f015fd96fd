package join

import "errors"

// errNoKey is why a join refuses a record. It ends in the dead letter, or in the error of App.Run under the policy Stop.
var errNoKey = errors.New("the record has no key, and a join needs one: give it a key with processor.KeyBy before the join")
