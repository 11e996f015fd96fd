package notify_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
)

// TestAcknowledge: what is told of a group that is looked at every 10 s and repeated every 30 s, the alert a being acknowledged at 15 s.
func TestAcknowledge(t *testing.T) {
	of := func(fingerprint string, until float64) notify.Acknowledgement {
		return notify.Acknowledgement{ID: "1", Fingerprint: fingerprint, Owner: "ann", CreatedAt: at(15), ExpiresAt: at(until)}
	}
	for name, c := range map[string]struct {
		ack  notify.Acknowledgement
		then func(w *world) // at 35 s
		want []string       // from 15 s to 200 s
	}{
		"nothing else": {ack: of("alertname,A,severity,warning", 125), want: []string{
			"130.0 default: repeat interval elapsed: A 0.0", "170.0 default: repeat interval elapsed: A 0.0",
		}},
		"by matchers": {ack: notify.Acknowledgement{ID: "1", Matchers: match(t, `alertname="A"`), Owner: "ann", CreatedAt: at(15), ExpiresAt: at(999)}},
		"of another": {ack: of("other", 999), want: []string{
			"50.0 default: repeat interval elapsed: A 0.0", "90.0 default: repeat interval elapsed: A 0.0",
			"130.0 default: repeat interval elapsed: A 0.0", "170.0 default: repeat interval elapsed: A 0.0",
		}},
		"taken back": {
			ack: of("alertname,A,severity,warning", 999), then: func(w *world) { w.d.Unacknowledge("1") },
			want: []string{
				"50.0 default: repeat interval elapsed: A 0.0", "90.0 default: repeat interval elapsed: A 0.0",
				"130.0 default: repeat interval elapsed: A 0.0", "170.0 default: repeat interval elapsed: A 0.0",
			},
		},
		"resolved": {
			ack:  of("alertname,A,severity,warning", 999),
			then: func(w *world) { w.d.Take(alert(0, 35, "alertname", "A", "severity", "warning"), at(35)) },
			want: []string{"40.0 default: all alerts resolved: A 0.0-35.0"},
		},
		"resolved and back: nobody's yet": {
			ack: of("alertname,A,severity,warning", 999),
			then: func(w *world) {
				w.d.Take(alert(0, 35, "alertname", "A", "severity", "warning"), at(35))
				w.d.Take(alert(36, 0, "alertname", "A", "severity", "warning"), at(36))
			},
			want: []string{"50.0 default: repeat interval elapsed: A 36.0", "90.0 default: repeat interval elapsed: A 36.0",
				"130.0 default: repeat interval elapsed: A 36.0", "170.0 default: repeat interval elapsed: A 36.0"},
		},
		"another severity": {
			ack: of("alertname,A,severity,warning", 999),
			then: func(w *world) {
				worse := alert(0, 0, "alertname", "A", "severity", "critical")
				worse.Fingerprint = "alertname,A,severity,warning"
				w.d.Take(worse, at(35))
			},
			want: []string{"40.0 default: new alerts added: A 0.0"},
		},
		"another alert": {
			ack:  of("alertname,A,severity,warning", 999),
			then: func(w *world) { w.d.Take(alert(35, 0, "alertname", "B", "severity", "warning"), at(35)) },
			want: []string{
				"40.0 default: new alerts added: A 0.0, B 35.0", "80.0 default: repeat interval elapsed: A 0.0, B 35.0",
				"120.0 default: repeat interval elapsed: A 0.0, B 35.0", "160.0 default: repeat interval elapsed: A 0.0, B 35.0",
				"200.0 default: repeat interval elapsed: A 0.0, B 35.0",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, notify.Config{Route: notify.Route{GroupWait: 10 * time.Second, GroupInterval: 10 * time.Second, RepeatInterval: 30 * time.Second}})
			w.d.Take(alert(0, 0, "alertname", "A", "severity", "warning"), at(0))
			require.Equal(t, []string{"10.0 default: first notification: A 0.0"}, w.until(15))
			w.d.Acknowledge(c.ack)
			require.Empty(t, w.until(35))
			if c.then != nil {
				c.then(w)
			}
			require.Equal(t, c.want, w.until(200))
		})
	}
}

// TestAcknowledgementsAreChecked names what is wrong.
func TestAcknowledgementsAreChecked(t *testing.T) {
	good := notify.Acknowledgement{Fingerprint: "f", Owner: "ann", CreatedAt: at(0), ExpiresAt: at(1)}
	require.NoError(t, good.Validate())
	for want, spoil := range map[string]func(*notify.Acknowledgement){
		"has no owner":                  func(a *notify.Acknowledgement) { a.Owner = "" },
		"one of them":                   func(a *notify.Acknowledgement) { a.Fingerprint = "" },
		"or matchers, one of them":      func(a *notify.Acknowledgement) { a.Matchers = match(t, `a="b"`) },
		"one of everything":             func(a *notify.Acknowledgement) { a.Fingerprint, a.Matchers = "", match(t, `a=~".*"`) },
		"not after its time 2023-11-14": func(a *notify.Acknowledgement) { a.ExpiresAt = at(0) },
		"at most":                       func(a *notify.Acknowledgement) { a.Fingerprint, a.Matchers = "", make(notify.Matchers, 1001) },
	} {
		bad := good
		spoil(&bad)
		require.ErrorContains(t, bad.Validate(), want)
	}
}

// TestAnAcknowledgementSurvives: an acknowledged alarm is not repeated, whatever dies; when it expires it is, and its end is told.
func TestAnAcknowledgementSurvives(t *testing.T) {
	for name, crash := range map[string]func(*processortest.Driver){"straight": func(*processortest.Driver) {}, "crashes": (*processortest.Driver).Crash} {
		t.Run(name, func(t *testing.T) {
			ops, pager := &inbox{}, &inbox{}
			d := processortest.New(t, topology(t, ops, pager, false))
			d.SetClock(at(0))
			alarm(d, "Slow", "a", "warning", alerting.Firing)
			d.AdvanceClock(time.Minute)
			require.Len(t, ops.take(), 1)
			fire := alerting.Alarm{Rule: "Slow", Key: "a"}
			c := notify.SilenceChange{ID: "ack.1", Version: alerting.Version{Revision: 1}, Acknowledgement: &notify.Acknowledgement{
				Fingerprint: fire.Fingerprint(), Owner: "ann", CreatedAt: d.Clock(), ExpiresAt: d.Clock().Add(5 * time.Hour),
			}}
			processortest.Pipe(d, silences, processor.Record[notify.SilenceChange]{Key: c.ID, Value: c})
			for range 29 {
				crash(d)
				d.AdvanceClock(10 * time.Minute)
			}
			require.Empty(t, ops.take())
			crash(d)
			d.AdvanceClock(11 * time.Minute) // it has expired
			require.Equal(t, []string{"repeat interval elapsed: Slow 0.0"}, ops.take())
			crash(d)
			alarm(d, "Slow", "a", "warning", alerting.Resolved)
			d.AdvanceClock(time.Minute)
			require.Equal(t, []string{fmt.Sprintf("all alerts resolved: Slow 0.0-%.1f", d.Clock().Add(-time.Minute).Sub(at(0)).Seconds())}, ops.take())
			require.NoError(t, d.Err())
			require.Empty(t, d.DeadLetters())
		})
	}
}
