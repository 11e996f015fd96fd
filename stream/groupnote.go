package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// noteToken is where the log of all groups keeps what the members of one have written down for those to come.
const noteToken = "note."

// lastNote is the one note that a group has.
const lastNote = noteToken + "last"

// GroupNote reads what the members of a group have written down for those to come, and its revision: nil and 0 if that is nothing. group
// is a name as in MembershipConfig.
func (c *Client) GroupNote(ctx context.Context, group string) (note []byte, revision uint64, err error) {
	m, err := c.lastEntry(ctx, groupsSubject+group+"."+lastNote)
	if err != nil {
		return nil, 0, fmt.Errorf("stream: read the note of group %q: %w", group, err)
	}
	if m == nil {
		return nil, 0, nil
	}
	return m.Data, m.Seq, nil
}

// SetGroupNote replaces the note of a group, JSON, if revision is that of the last one; otherwise it changes nothing and reports false:
// read it again. The server decides between writers that do so at the same time.
func (c *Client) SetGroupNote(ctx context.Context, group string, note json.RawMessage, revision uint64) (ok bool, err error) {
	if err := c.openGroupsStream(ctx); err != nil {
		return false, err
	}
	_, err = c.write(ctx, logEntry{subject: groupsSubject + group + "." + lastNote, body: note, expected: revision})
	if errors.Is(err, errOutdated) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("stream: write the note of group %q: %w", group, err)
	}
	return true, nil
}
