package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/rossby-streams/rossby/alerting/notify"
)

// gettableSilence is a silence as Alertmanager's API tells it.
type gettableSilence struct {
	ID        string          `json:"id"`
	Status    silenceStatus   `json:"status"`
	UpdatedAt time.Time       `json:"updatedAt"`
	Comment   string          `json:"comment"`
	CreatedBy string          `json:"createdBy"`
	EndsAt    time.Time       `json:"endsAt"`
	Matchers  notify.Matchers `json:"matchers"`
	StartsAt  time.Time       `json:"startsAt"`
}

type silenceStatus struct {
	State string `json:"state"`
}

// States of a silence, in the order of lists.
const (
	active  = "active"
	pending = "pending"
	expired = "expired"
)

func stateOf(s *notify.Silence, now time.Time) string {
	switch {
	case now.Before(s.StartsAt):
		return pending
	case now.Before(s.EndsAt):
		return active
	}
	return expired
}

func (k *kept) gettable(now time.Time) gettableSilence {
	s := k.Silence
	return gettableSilence{
		ID: k.ID, Status: silenceStatus{stateOf(s, now)}, UpdatedAt: k.updated.UTC(), Comment: s.Comment, CreatedBy: s.CreatedBy,
		EndsAt: s.EndsAt.UTC(), Matchers: s.Matchers, StartsAt: s.StartsAt.UTC(),
	}
}

func (s *Server) listSilences(r *http.Request) (any, error) {
	q, err := readQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	all, err := s.silences.list(r.Context())
	if err != nil {
		return nil, err
	}
	list, now := []gettableSilence{}, time.Now()
	for i := range all {
		if all[i].Silence != nil && q.matchers.Match(labelsOf(all[i].Silence)) {
			list = append(list, all[i].gettable(now))
		}
	}
	slices.SortFunc(list, compareSilences)
	return list, nil
}

// labelsOf are the labels that the matchers of a silence name, as filters of silences see them.
func labelsOf(s *notify.Silence) map[string]string {
	labels := make(map[string]string, len(s.Matchers))
	for _, m := range s.Matchers {
		labels[m.Name()] = m.Value()
	}
	return labels
}

// compareSilences orders them as Alertmanager does: active ones by their end, pending ones by their start, expired ones the latest first.
func compareSilences(a, b gettableSilence) int {
	order := map[string]int{active: 0, pending: 1, expired: 2}
	if c := cmp.Compare(order[a.Status.State], order[b.Status.State]); c != 0 {
		return c
	}
	by := a.EndsAt.Compare(b.EndsAt)
	switch a.Status.State {
	case pending:
		by = a.StartsAt.Compare(b.StartsAt)
	case expired:
		by = -by
	}
	return cmp.Or(by, strings.Compare(a.ID, b.ID))
}

func (s *Server) getSilence(r *http.Request) (any, error) {
	k, err := s.silences.get(r.Context(), r.PathValue("id"))
	switch {
	case err != nil:
		return nil, err
	case k.Silence == nil:
		return nil, errMissing
	}
	return k.gettable(time.Now()), nil
}

// postableSilence is a silence as it is posted.
type postableSilence struct {
	ID        string          `json:"id"`
	Comment   string          `json:"comment"`
	CreatedBy string          `json:"createdBy"`
	EndsAt    time.Time       `json:"endsAt"`
	Matchers  notify.Matchers `json:"matchers"`
	StartsAt  time.Time       `json:"startsAt"`
}

// decodeSilence reads a posted silence.
func decodeSilence(data []byte, now time.Time) (notify.Silence, error) {
	var p postableSilence
	if err := json.Unmarshal(data, &p); err != nil {
		return notify.Silence{}, fail(http.StatusBadRequest, "the body is no silence: %w", err)
	}
	s := notify.Silence{ID: p.ID, Matchers: p.Matchers, StartsAt: p.StartsAt, EndsAt: p.EndsAt, CreatedBy: p.CreatedBy, Comment: p.Comment}
	if s.StartsAt.IsZero() {
		s.StartsAt = now
	}
	err := s.Validate()
	switch {
	case err != nil:
	case !s.EndsAt.After(now):
		err = errors.New("the silence ends in the past: give a later endsAt")
	case s.CreatedBy == "" || s.Comment == "":
		err = errors.New("the silence needs createdBy and comment: say who and why")
	}
	if err != nil {
		return s, fail(http.StatusBadRequest, "%w", err)
	}
	return s, nil
}

type postedSilence struct {
	SilenceID string `json:"silenceID"`
}

func (s *Server) postSilence(r *http.Request) (any, error) {
	data, err := body(r, maxBody)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	silence, err := decodeSilence(data, now)
	if err != nil {
		return nil, err
	}
	if silence.ID != "" {
		done, err := s.replace(r.Context(), &silence, now)
		if err != nil || done {
			return postedSilence{silence.ID}, err
		}
	}
	silence.ID = newID()
	if silence.StartsAt.Before(now) {
		silence.StartsAt = now
	}
	err = s.silences.create(r.Context(), notify.SilenceChange{ID: silence.ID, Silence: &silence}, s.cfg.Retention)
	return postedSilence{silence.ID}, err
}

// replace changes a silence that is there, if it may be, and else ends it.
func (s *Server) replace(ctx context.Context, to *notify.Silence, now time.Time) (done bool, err error) {
	err = s.silences.edit(ctx, to.ID, func(k kept) (*notify.SilenceChange, error) {
		if k.Silence == nil {
			return nil, errMissing
		}
		if done = mayBecome(k.Silence, to, now); done {
			return &notify.SilenceChange{ID: k.ID, Silence: to}, nil
		}
		return ended(k, now), nil
	})
	return done, err
}

// mayBecome reports whether a silence can be changed to another and stay the same one. The rules are Alertmanager's: what has been is not
// changed.
func mayBecome(from, to *notify.Silence, now time.Time) bool {
	if from.Matchers.String() != to.Matchers.String() {
		return false
	}
	switch stateOf(from, now) {
	case active:
		return from.StartsAt.Unix() == to.StartsAt.Unix()
	case pending:
		return !to.StartsAt.Before(now)
	}
	return false
}

// ended is a silence that ends now. One that has not begun has been for no time to speak of.
func ended(k kept, now time.Time) *notify.SilenceChange {
	over := *k.Silence
	if !over.EndsAt.After(now) {
		return &k.SilenceChange
	}
	over.EndsAt = now
	if !over.StartsAt.Before(now) {
		over.StartsAt = now.Add(-time.Millisecond)
	}
	return &notify.SilenceChange{ID: k.ID, Silence: &over}
}

func (s *Server) deleteSilence(r *http.Request) (any, error) {
	return nil, s.silences.edit(r.Context(), r.PathValue("id"), func(k kept) (*notify.SilenceChange, error) {
		if k.Silence == nil {
			return nil, errMissing
		}
		return ended(k, time.Now().UTC()), nil
	})
}
