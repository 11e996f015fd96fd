package notify

import (
	"errors"
	"fmt"
	"time"
)

// Silence mutes alerts for a time.
type Silence struct {
	ID string `json:"id"`
	// Matchers must all hold. One of them must not match a label that is missing: else it would be a silence of everything.
	Matchers Matchers `json:"matchers"`
	// StartsAt and EndsAt bound it: it mutes from the one until before the other.
	StartsAt time.Time `json:"startsAt"`
	EndsAt   time.Time `json:"endsAt"`
	// UnusedFor ends it earlier: once no alert that fires has matched it for so long, from StartsAt on. A minute or more; zero: it does not.
	UnusedFor Duration `json:"unusedFor,omitzero"`
	// CreatedBy and Comment say who and why.
	CreatedBy string `json:"createdBy"`
	Comment   string `json:"comment"`
}

// leastUnused bounds how often it is looked whether a silence is in use.
const leastUnused = time.Minute

// Validate returns what is wrong with the silence.
func (s *Silence) Validate() error {
	if len(s.Matchers) == 0 {
		return errors.New("the silence has no matcher: give one at least")
	}
	if len(s.Matchers) > maxMatchers {
		return fmt.Errorf("the silence has %d matchers: at most %d are taken", len(s.Matchers), maxMatchers)
	}
	if s.Matchers.Match(nil) {
		return fmt.Errorf("the silence %s is one of everything: one matcher must not match a label that is missing", s.Matchers)
	}
	if s.UnusedFor != 0 && s.UnusedFor < Duration(leastUnused) {
		return fmt.Errorf("the silence ends after %s without a match: unusedFor must be %s or more, or left out", s.UnusedFor, leastUnused)
	}
	if s.StartsAt.IsZero() || !s.EndsAt.After(s.StartsAt) {
		return fmt.Errorf("the silence ends at %s, which is not after its start %s", s.EndsAt.Format(time.RFC3339), s.StartsAt.Format(time.RFC3339))
	}
	return nil
}

// ActiveAt reports whether the silence mutes at that time.
func (s *Silence) ActiveAt(now time.Time) bool {
	return !now.Before(s.StartsAt) && now.Before(s.EndsAt)
}

// InhibitRule mutes alerts that Target matches while one fires that Source matches and that has the same values of the labels in Equal. Labels
// that both do not have are the same. An alert that both sides match is not muted by one that both sides match.
type InhibitRule struct {
	Source, Target Matchers
	Equal          []string
}

// equalKey is the text of the values that must be the same.
func (r *InhibitRule) equalKey(labels map[string]string) string {
	key := make([]byte, 0, 64)
	for _, name := range r.Equal {
		key = append(append(key, labels[name]...), 0xff)
	}
	return string(key)
}
