package api

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/rossby-streams/rossby/alerting/notify"
)

// Bounds of bodies, in bytes: of alerts that are posted together, and of anything else.
const (
	maxAlertsBody = 4 << 20
	maxBody       = 64 << 10
)

// body reads the body of a request that is to be JSON.
func body(r *http.Request, most int64) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return nil, fail(http.StatusUnsupportedMediaType, "the content type is %q: send application/json", r.Header.Get("Content-Type"))
	}
	data, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, fail(http.StatusRequestEntityTooLarge, "the body has more than %d bytes: send less at a time", most)
	case err != nil:
		return nil, fail(http.StatusBadRequest, "the body cannot be read: %w", err)
	}
	return data, nil
}

// maxFilters and maxPattern bound what one request asks for.
const (
	maxFilters = 100
	maxPattern = 4 << 10
)

// query are the parameters of a list.
type query struct {
	matchers                           notify.Matchers
	receiver                           *regexp.Regexp // nil: all
	active, silenced, inhibited, muted bool
}

func readQuery(v url.Values) (q query, err error) {
	if len(v["filter"]) > maxFilters {
		return q, fail(http.StatusBadRequest, "there are %d filters: at most %d are taken", len(v["filter"]), maxFilters)
	}
	for _, text := range v["filter"] {
		ms, err := notify.Parse(text)
		if err != nil {
			return q, fail(http.StatusBadRequest, "the filter %.200q is no matcher: %w", text, err)
		}
		q.matchers = append(q.matchers, ms...)
	}
	if pattern := v.Get("receiver"); pattern != "" {
		if len(pattern) > maxPattern {
			return q, fail(http.StatusBadRequest, "the pattern of receivers has %d bytes: at most %d are taken", len(pattern), maxPattern)
		}
		if q.receiver, err = regexp.Compile("^(?:" + pattern + ")$"); err != nil {
			return q, fail(http.StatusBadRequest, "the pattern of receivers: %w", err)
		}
	}
	unprocessed := true // there are none
	for name, to := range map[string]*bool{
		"active": &q.active, "silenced": &q.silenced, "inhibited": &q.inhibited, "muted": &q.muted, "unprocessed": &unprocessed,
	} {
		*to = true
		if text := v.Get(name); text != "" {
			if *to, err = strconv.ParseBool(text); err != nil {
				return q, fail(http.StatusBadRequest, "%s is %.20q: give true or false", name, text)
			}
		}
	}
	return q, nil
}

// wants reports whether an alert is asked for.
func (q *query) wants(l *notify.Listed) bool {
	switch {
	case !q.active && !l.Suppressed(), !q.silenced && len(l.SilencedBy) > 0, !q.inhibited && len(l.InhibitedBy) > 0, !q.muted && len(l.MutedBy) > 0:
		return false
	}
	return q.matchers.Match(l.Labels)
}

func (q *query) wantsReceiver(names ...string) bool {
	if q.receiver == nil {
		return true
	}
	for _, name := range names {
		if q.receiver.MatchString(name) {
			return true
		}
	}
	return false
}

// errorsOf says how many of several things were refused, and names the first of them.
func errorsOf(errs []error, of int) error {
	const named = 10
	err := errors.Join(errs[:min(len(errs), named)]...)
	return fail(http.StatusBadRequest, "%d of %d alerts are refused: %w", len(errs), of, oneLine{err})
}

// oneLine writes joined errors in one line.
type oneLine struct{ error }

// Error implements error.
func (o oneLine) Error() string {
	joined, ok := o.error.(interface{ Unwrap() []error })
	if !ok {
		return o.error.Error()
	}
	text := ""
	for i, err := range joined.Unwrap() {
		if i > 0 {
			text += "; "
		}
		text += fmt.Sprint(err)
	}
	return text
}
