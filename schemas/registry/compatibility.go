package registry

import (
	"errors"
	"fmt"

	"github.com/rossby-streams/rossby/schemas"
)

// Compatibility says which versions of a subject must get on with a new one.
type Compatibility string

const (
	// None asks for nothing.
	None Compatibility = "none"
	// Backward: the new version accepts all documents that the latest one does. Move readers first.
	Backward Compatibility = "backward"
	// Forward: the latest version accepts all documents that the new one does. Move writers first.
	Forward Compatibility = "forward"
	// Full: both accept the same documents, so readers and writers move in any order.
	Full Compatibility = "full"
	// BackwardTransitive asks what Backward does of all versions that are not deleted.
	BackwardTransitive Compatibility = "backward-transitive"
	// ForwardTransitive asks what Forward does of all versions that are not deleted.
	ForwardTransitive Compatibility = "forward-transitive"
	// FullTransitive asks what Full does of all versions that are not deleted.
	FullTransitive Compatibility = "full-transitive"
)

func (c Compatibility) check() error {
	switch c {
	case None, Backward, Forward, Full, BackwardTransitive, ForwardTransitive, FullTransitive:
		return nil
	}
	return fmt.Errorf("registry: %q is no compatibility: say none, backward, forward, full, or one of these with -transitive", string(c))
}

func (c Compatibility) backward() bool { return c != None && c != Forward && c != ForwardTransitive }
func (c Compatibility) forward() bool  { return c != None && c != Backward && c != BackwardTransitive }
func (c Compatibility) transitive() bool {
	return c == BackwardTransitive || c == ForwardTransitive || c == FullTransitive
}

// conflicts compares a new schema with an older version.
func (c Compatibility) conflicts(newer, older *schemas.Schema, version int) ([]Conflict, error) {
	var all []Conflict
	compare := func(reader, writer *schemas.Schema, backward bool) error {
		err := reader.AcceptsAllOf(writer)
		var why *schemas.NarrowerError
		if errors.As(err, &why) {
			all = append(all, Conflict{Version: version, Backward: backward, Why: why})
			return nil
		}
		return err // what is not understood is no yes
	}
	if c.backward() {
		if err := compare(newer, older, true); err != nil {
			return nil, err
		}
	}
	if c.forward() {
		if err := compare(older, newer, false); err != nil {
			return nil, err
		}
	}
	return all, nil
}
