package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/silencebucket"
)

func (s *Server) listAcknowledgements(r *http.Request) (any, error) {
	all, err := s.silences.list(r.Context())
	if err != nil {
		return nil, err
	}
	list, now := []notify.Acknowledgement{}, time.Now()
	for i := range all {
		if a := all[i].Acknowledgement; a != nil && now.Before(a.ExpiresAt) {
			list = append(list, *a)
		}
	}
	slices.SortFunc(list, func(a, b notify.Acknowledgement) int {
		return cmp.Or(a.ExpiresAt.Compare(b.ExpiresAt), strings.Compare(a.ID, b.ID))
	})
	return list, nil
}

func (s *Server) getAcknowledgement(r *http.Request) (any, error) {
	k, err := s.silences.get(r.Context(), r.PathValue("id"))
	switch {
	case err != nil:
		return nil, err
	case k.Acknowledgement == nil:
		return nil, errMissing
	}
	return k.Acknowledgement, nil
}

// postableAcknowledgement is an acknowledgement as it is posted.
type postableAcknowledgement struct {
	Fingerprint string          `json:"fingerprint"`
	Matchers    notify.Matchers `json:"matchers"`
	Owner       string          `json:"owner"`
	Comment     string          `json:"comment"`
	ExpiresAt   time.Time       `json:"expiresAt"`
}

// decodeAcknowledgement reads a posted acknowledgement; it is made now.
func decodeAcknowledgement(data []byte, now time.Time) (notify.Acknowledgement, error) {
	var p postableAcknowledgement
	if err := json.Unmarshal(data, &p, json.RejectUnknownMembers(true)); err != nil {
		return notify.Acknowledgement{}, fail(http.StatusBadRequest, "the body is no acknowledgement: %w", err)
	}
	a := notify.Acknowledgement{
		Fingerprint: p.Fingerprint, Matchers: p.Matchers, Owner: p.Owner, Comment: p.Comment, CreatedAt: now, ExpiresAt: p.ExpiresAt,
	}
	if err := a.Validate(); err != nil {
		return a, fail(http.StatusBadRequest, "%w", err)
	}
	return a, nil
}

type postedAcknowledgement struct {
	ID string `json:"acknowledgementID"`
}

func (s *Server) postAcknowledgement(r *http.Request) (any, error) {
	data, err := body(r, maxBody)
	if err != nil {
		return nil, err
	}
	a, err := decodeAcknowledgement(data, time.Now().UTC())
	if err != nil {
		return nil, err
	}
	a.ID = silencebucket.AcknowledgementPrefix + newID()
	err = s.silences.create(r.Context(), notify.SilenceChange{ID: a.ID, Acknowledgement: &a}, s.cfg.Retention)
	return postedAcknowledgement{a.ID}, err
}

func (s *Server) deleteAcknowledgement(r *http.Request) (any, error) {
	return nil, s.silences.edit(r.Context(), r.PathValue("id"), func(k kept) (*notify.SilenceChange, error) {
		if k.Acknowledgement == nil {
			return nil, errMissing
		}
		return nil, nil
	})
}
