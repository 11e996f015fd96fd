package stream

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Joined lists the members of a group that Join has been told to join, by name. One that has died is listed until the others, or the
// server, have noticed; so is a static one that has left. Partitions are always empty: items are none.
func (c *Client) Joined(ctx context.Context, group string) ([]MemberInfo, error) {
	if err := checkMembership(group); err != nil {
		return nil, err
	}
	var members []MemberInfo
	err := c.groupEntries(ctx, group+"."+memberToken, func(id string, m *storedMsg) error {
		var e memberEntry
		if err := json.Unmarshal(m.Data, &e); err != nil || e.Gone != "" {
			return err
		}
		members = append(members, MemberInfo{Name: id, Static: e.Static, SessionTimeout: e.Session, Seen: m.Time, nonce: e.Nonce})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("stream: members of group %q: %w", group, err)
	}
	slices.SortFunc(members, func(a, b MemberInfo) int { return cmp.Compare(a.Name, b.Name) })
	return members, nil
}

// Disband removes what is known of a group that Join has been told to join: members, claims with their positions, and the note. Members that
// there are must join again: see Joined.
func (c *Client) Disband(ctx context.Context, group string) error {
	if err := checkMembership(group); err != nil {
		return err
	}
	for _, token := range []string{memberToken, claimToken, noteToken} {
		if err := c.forgetGroups(ctx, group+"."+token); err != nil {
			return fmt.Errorf("stream: disband group %q: %w", group, err)
		}
	}
	return nil
}

func checkMembership(group string) error {
	for token := range strings.SplitSeq(group, ".") {
		if problem := nameProblem(token); problem != "" {
			return &NameError{Kind: "group", Name: token, Problem: "it " + problem}
		}
	}
	return nil
}
