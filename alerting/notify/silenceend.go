package notify

import (
	"fmt"
	"time"

	"github.com/rossby-streams/rossby/alerting"
)

// Duration is a time.Duration that is a text in JSON, such as "1h30m".
type Duration time.Duration

// String returns the text.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns the text.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`%.40q is no duration: write one such as "90s", "2m" or "1h30m"`, text)
	}
	*d = Duration(v)
	return nil
}

// SilenceEnded is the name of the alert which says that a silence has ended.
const SilenceEnded = "SilenceEnded"

// endedFor is how long that alert fires; longer where its route takes longer to tell of it.
const endedFor = time.Hour

// noteUse notes that silences were in use until now, if they matched an alert that is about to change.
func (d *Dispatcher) noteUse(before *Alert, now time.Time) {
	if before.ResolvedAt(now) {
		return
	}
	for id, last := range d.used {
		if s, ok := d.silences[id]; ok && last.Before(now) && s.ActiveAt(now) && s.Matchers.Match(before.Labels) {
			d.used[id] = now
			d.changed.used[id] = true
		}
	}
}

// matched is how many alerts fire that a silence matches.
func (d *Dispatcher) matched(s *Silence, now time.Time) (n int) {
	for _, k := range d.alerts {
		if !k.Alert.ResolvedAt(now) && s.Matchers.Match(k.Alert.Labels) {
			n++
		}
	}
	return n
}

// unusedAt is when a silence will have been unused for long enough, if nothing fires from now on that it matches.
func (d *Dispatcher) unusedAt(s *Silence, now time.Time) time.Time {
	last := d.used[s.ID]
	if s.ActiveAt(now) && d.matched(s, now) > 0 {
		last = now
	}
	return last.Add(time.Duration(s.UnusedFor))
}

// endOf ends a silence if it is time: because it has expired, or nothing has matched it for long enough. Else next is when to look again.
func (d *Dispatcher) endOf(s Silence, now time.Time) (over bool, next time.Time) {
	next, why := s.EndsAt, "has expired"
	if s.UnusedFor > 0 {
		if unused := d.unusedAt(&s, now); unused.Before(next) {
			next, why = unused, fmt.Sprintf("has ended: no alert that fires has matched it for %s", s.UnusedFor)
		}
	}
	if next.After(now) {
		return false, next
	}
	d.Unsilence(s.ID)
	delete(d.used, s.ID)
	if d.cfg.TellSilenceEnds {
		d.takeEnd(&s, why, now)
	}
	return true, next
}

// takeEnd takes an alert which says that a silence has ended. Routes find it by the labels that the silence asks for, so that whoever is
// told of what was silenced is told of this.
func (d *Dispatcher) takeEnd(s *Silence, why string, now time.Time) {
	labels := make(map[string]string, len(s.Matchers)+3)
	for _, m := range s.Matchers {
		if m.op == Equal && m.value != "" {
			labels[m.name] = m.value
		}
	}
	labels[LabelName], labels["silence"], labels[LabelSeverity] = SilenceEnded, s.ID, "info"
	identity := alerting.Alarm{Rule: SilenceEnded, Key: s.ID, Labels: map[string]string{"ended": now.UTC().Format(time.RFC3339Nano)}}
	a := Alert{Fingerprint: identity.Fingerprint(), Labels: labels, StartsAt: now, Annotations: map[string]string{
		"summary": fmt.Sprintf("the silence %s of %s (%s) for %s %s; firing alerts that it matches: %d", s.ID, s.CreatedBy, s.Comment, s.Matchers, why, d.matched(s, now)),
	}}
	hold := endedFor
	for _, n := range d.root.match(labels) {
		hold = max(hold, n.GroupWait+n.GroupInterval)
	}
	a.EndsAt = now.Add(hold)
	d.Take(a, now)
}

// begin sets the timer for the end of a silence or an acknowledgement that has come, if it has one.
func (t *task) begin(d *Dispatcher, id string, row *silenceRow, now time.Time) error {
	delete(d.used, id)
	switch s := row.Silence; {
	case row.Acknowledgement != nil:
		row.Next = row.Acknowledgement.ExpiresAt
	case s == nil:
		return nil
	default:
		row.Next = s.EndsAt
		if s.UnusedFor <= 0 {
			break
		}
		row.Used = now
		if s.StartsAt.After(now) {
			row.Used = s.StartsAt
		}
		d.used[id] = row.Used
		if unused := row.Used.Add(time.Duration(s.UnusedFor)); unused.Before(row.Next) {
			row.Next = unused
		}
	}
	return t.watch(id, row, now)
}

// look ends a silence or an acknowledgement if it is time, or looks again later. Timers from before it was changed are passed over.
func (t *task) look(d *Dispatcher, id string, now time.Time) error {
	row, _ := t.silences.Get(id)
	if row.Next.IsZero() || row.Next.After(now) {
		return nil
	}
	over := true
	if row.Silence != nil {
		over, row.Next = d.endOf(*row.Silence, now)
	} else {
		d.Unacknowledge(id)
	}
	if over {
		t.silences.Put(id, silenceRow{Version: row.Version})
		return nil
	}
	t.silences.Put(id, row)
	return t.watch(id, &row, now)
}

func (t *task) watch(id string, row *silenceRow, now time.Time) error {
	if row.Next.After(now.Add(longest)) {
		return nil
	}
	return t.c.ScheduleWall(timerSilence+id, row.Next)
}

// saveUse stores when silences were in use.
func (t *task) saveUse(d *Dispatcher, changed map[string]bool) {
	for id := range changed {
		if row, _ := t.silences.Get(id); row.Silence != nil {
			row.Used = d.used[id]
			t.silences.Put(id, row)
		}
	}
}
