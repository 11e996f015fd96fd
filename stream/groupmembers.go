package stream

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MemberInfo is one member of a consumer group.
type MemberInfo struct {
	// Name is what Consumer.Member says.
	Name string
	// Static says that the name is one that the user gave.
	Static bool
	// SessionTimeout is after how much silence it counts as dead.
	SessionTimeout time.Duration
	// Seen is when the server had its last heartbeat.
	Seen time.Time
	// Partitions are those that it holds, in order. Empty: it stands by.
	Partitions []int

	nonce string
}

func (m MemberInfo) active() string {
	if len(m.Partitions) == 0 {
		return fmt.Sprintf("member %s stands by", m.Name)
	}
	return fmt.Sprintf("member %s holds partitions %v", m.Name, m.Partitions)
}

// Members lists the members of a consumer group of the topic, by name. One that has
// died is listed until the others, or the server, have noticed.
func (c *Client) Members(ctx context.Context, spec TopicSpec, group string) ([]MemberInfo, error) {
	spec = spec.withDefaults()
	if err := errors.Join(spec.Validate(), checkGroup(group)); err != nil {
		return nil, err
	}
	groups, err := c.membersOf(ctx, spec.Name)
	return groups[group], err
}

// membersOf gives the members of each group of a topic.
func (c *Client) membersOf(ctx context.Context, topic string) (map[string][]MemberInfo, error) {
	members := make(map[string]map[string]*MemberInfo)
	claims := make(map[string]map[int]claimEntry)
	err := c.groupEntries(ctx, "consumer."+topic+".", func(rest string, m *storedMsg) error {
		group, rest, _ := strings.Cut(rest, ".")
		if id, ok := strings.CutPrefix(rest, memberToken); ok {
			var e memberEntry
			if err := json.Unmarshal(m.Data, &e); err != nil || e.Gone != "" {
				return err
			}
			if members[group] == nil {
				members[group] = make(map[string]*MemberInfo)
			}
			members[group][id] = &MemberInfo{Name: id, Static: e.Static, SessionTimeout: e.Session, Seen: m.Time, nonce: e.Nonce}
			return nil
		}
		item, ok := strings.CutPrefix(rest, claimToken)
		p, err := strconv.Atoi(item)
		if !ok || err != nil {
			return nil // of a later version
		}
		if claims[group] == nil {
			claims[group] = make(map[int]claimEntry)
		}
		var e claimEntry
		err = json.Unmarshal(m.Data, &e)
		claims[group][p] = e
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("stream: members of the groups of topic %q: %w", topic, err)
	}
	out := make(map[string][]MemberInfo, len(members))
	for group, all := range members {
		for p, claim := range claims[group] {
			if m := all[claim.Member]; m != nil && m.nonce == claim.Nonce {
				m.Partitions = append(m.Partitions, p)
			}
		}
		for _, m := range all {
			slices.Sort(m.Partitions)
			out[group] = append(out[group], *m)
		}
		slices.SortFunc(out[group], func(a, b MemberInfo) int { return cmp.Compare(a.Name, b.Name) })
	}
	return out, nil
}

// groupAtOffset is a position in a partition.
type groupAtOffset struct {
	partition int
	next      uint64
}

// resetPartition moves a stopped group in one partition: the claim as well as the
// durable. A member that takes the partition at the same time is not overrun.
func (c *Client) resetPartition(ctx context.Context, spec TopicSpec, group string, to groupAtOffset) error {
	subject := groupsSubject + membershipName(spec.Name, group) + "." + claimToken + strconv.Itoa(to.partition)
	last, err := c.lastEntry(ctx, subject)
	if err != nil {
		return err
	}
	if last != nil { // without a claim the durable says it all
		_, err = c.write(ctx, logEntry{subject: subject, body: claimEntry{Next: to.next}, expected: last.Seq})
	}
	if errors.Is(err, errOutdated) {
		return &GroupActiveError{Topic: spec.Name, Partition: to.partition, Group: group, Reason: "a member has just taken it"}
	}
	if err != nil {
		return err
	}
	return c.StoreOffset(ctx, spec, group, to.partition, to.next)
}
