package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rossby-streams/rossby/schemas"
)

// ErrNotFound is what errors about unknown subjects, versions and topics wrap.
var ErrNotFound = errors.New("not in the schema registry")

// NotFoundError says that there is no such subject or version, or that a topic is tied to none.
type NotFoundError struct {
	// Topic is the topic without a subject, if that was looked for.
	Topic string
	// Subject and Version are what was looked for; version 0 is any.
	Subject string
	Version int
}

// Error implements error.
func (e *NotFoundError) Error() string {
	switch {
	case e.Topic != "":
		return fmt.Sprintf("registry: the topic %q is tied to no subject (call Tie)", e.Topic)
	case e.Version == 0:
		return fmt.Sprintf("registry: the subject %q has no version (call Register)", e.Subject)
	}
	return fmt.Sprintf("registry: the subject %q has no version %d (Versions lists them)", e.Subject, e.Version)
}

// Unwrap gives ErrNotFound.
func (e *NotFoundError) Unwrap() error { return ErrNotFound }

// NameError says that a subject or topic cannot have that name.
type NameError struct{ Name string }

// Error implements error.
func (e *NameError) Error() string {
	return fmt.Sprintf("registry: %q is no name: use 1 to %d letters, digits, '-' and '_', and dots between them", e.Name, maxName)
}

// Conflict is a pair of versions that do not get on.
type Conflict struct {
	// Version is the older of the two.
	Version int
	// Backward says that the new version would refuse what is valid under the older one; otherwise it is the other way round.
	Backward bool
	// Why says which documents.
	Why *schemas.NarrowerError
}

// IncompatibleError says that a schema was not registered because of its compatibility.
type IncompatibleError struct {
	Subject       string
	Compatibility Compatibility
	// Conflicts has at least one entry.
	Conflicts []Conflict
}

// Error explains each conflict, in one line.
func (e *IncompatibleError) Error() string {
	parts := make([]string, len(e.Conflicts))
	for i, c := range e.Conflicts {
		reader, writer := "the new schema", fmt.Sprintf("version %d", c.Version)
		if !c.Backward {
			reader, writer = writer, reader
		}
		parts[i] = fmt.Sprintf("%s would refuse what %s allows: %s", reader, writer, c.Why.Explain())
	}
	return fmt.Sprintf("registry: subject %q is %s compatible: %s (allow both, or use another subject)", e.Subject, e.Compatibility, strings.Join(parts, "; "))
}

// MismatchError says that a record does not fit the version that the codec has.
type MismatchError struct {
	Subject string
	// Version is that of the codec.
	Version int
	// Fits are other versions under which the record is valid, latest first; empty is none of those known when the codec was made.
	Fits []int
	// Err is a *schemas.ValidationError, or says why the record is no JSON.
	Err error
}

// Error implements error.
func (e *MismatchError) Error() string {
	if len(e.Fits) > 0 {
		return fmt.Sprintf("registry: the record fits version %d of subject %q and not version %d, which this codec has (use that version): %v", e.Fits[0], e.Subject, e.Version, e.Err)
	}
	return fmt.Sprintf("registry: the record fits no known version of subject %q; version %d: %v", e.Subject, e.Version, e.Err)
}

// Unwrap gives what is wrong with the record.
func (e *MismatchError) Unwrap() error { return e.Err }

// BucketError says that the bucket exists and is not as configured, or that something in it cannot be read.
type BucketError struct {
	Bucket string
	// Problem says what is wrong and what to do.
	Problem string
}

// Error implements error.
func (e *BucketError) Error() string {
	return fmt.Sprintf("registry: bucket %q: %s", e.Bucket, e.Problem)
}

// InUseError says that a version cannot be deleted.
type InUseError struct {
	Subject string
	Version int
	// Topics are those tied to the subject.
	Topics []string
}

// Error implements error.
func (e *InUseError) Error() string {
	return fmt.Sprintf("registry: version %d is the last of subject %q, to which %s is tied (tie it to another subject first)", e.Version, e.Subject, strings.Join(e.Topics, ", "))
}
