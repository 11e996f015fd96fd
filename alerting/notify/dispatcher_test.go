package notify_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rossby-streams/rossby/alerting/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func match(t testing.TB, text string) notify.Matchers {
	t.Helper()
	ms, err := notify.Parse(text)
	require.NoError(t, err)
	return ms
}

// at is a moment, in seconds.
func at(seconds float64) time.Time {
	return time.Unix(1_700_000_000, 0).UTC().Add(time.Duration(math.Round(seconds*1000)) * time.Millisecond)
}

// alert is one that began at start, with labels as name, value, ...; end, if it is not 0, is when it was resolved.
func alert(start, end float64, labels ...string) notify.Alert {
	a := notify.Alert{Labels: make(map[string]string), StartsAt: at(start)}
	for i := 0; i < len(labels); i += 2 {
		a.Labels[labels[i]] = labels[i+1]
	}
	if end != 0 {
		a.EndsAt = at(end)
	}
	a.Fingerprint = strings.Join(labels, ",")
	return a
}

// world is a dispatcher that is looked at every 100 ms of its own time.
type world struct {
	d   *notify.Dispatcher
	now float64 // in whole tenths of seconds
	out []string
}

func newWorld(t testing.TB, cfg notify.Config) *world {
	t.Helper()
	if cfg.Receivers == nil {
		cfg.Receivers = []notify.Receiver{{Name: "default", SendResolved: true}}
	}
	if cfg.Route.Receiver == "" {
		cfg.Route.Receiver = "default"
	}
	d, err := notify.New(cfg)
	require.NoError(t, err)
	return &world{d: d}
}

// until lets time go on, and returns what was told in between.
func (w *world) until(seconds float64) []string {
	for w.now < seconds-0.01 {
		w.now = math.Round(w.now*10+1) / 10
		for _, id := range w.d.Due(at(w.now)) {
			for _, n := range w.d.Flush(id, at(w.now)) {
				w.out = append(w.out, fmt.Sprintf("%.1f %s: %s", w.now, n.Receiver, told(n)))
			}
		}
	}
	out := w.out
	w.out = nil
	return out
}

func told(n notify.Notification) string {
	var alerts []string
	for _, a := range n.Alerts {
		text := a.Labels["alertname"]
		for _, name := range []string{"zone", "n"} {
			if a.Labels[name] != "" {
				text += "/" + a.Labels[name]
			}
		}
		text += fmt.Sprintf(" %.1f", a.StartsAt.Sub(at(0)).Seconds())
		if !a.EndsAt.IsZero() {
			text += fmt.Sprintf("-%.1f", a.EndsAt.Sub(at(0)).Seconds())
		}
		alerts = append(alerts, text)
	}
	return string(n.Reason) + ": " + strings.Join(alerts, ", ")
}

func (w *world) take(alerts ...notify.Alert) {
	for _, a := range alerts {
		w.d.Take(a, at(w.now))
	}
}

func TestRoutesMatchAsAlertmanagersDo(t *testing.T) {
	all := []notify.Receiver{{Name: "def"}, {Name: "A"}, {Name: "testing"}, {Name: "prodA"}, {Name: "prodB"}, {Name: "BC"}}
	root := notify.Route{Receiver: "def", Routes: []notify.Route{
		{Receiver: "A", Matchers: match(t, `owner="team-A"`), Routes: []notify.Route{
			{Receiver: "testing", Matchers: match(t, `env="testing"`), GroupBy: []string{notify.GroupByAll}},
			{Receiver: "prodA", Matchers: match(t, `env="production"`), GroupWait: time.Minute, Continue: true},
			{Receiver: "prodB", Matchers: match(t, `env=~"produ.*",job=~".*"`), GroupBy: []string{"job"}, RepeatInterval: time.Hour},
		}},
		{Receiver: "BC", Matchers: match(t, `owner=~"team-(B|C)"`), GroupBy: []string{"foo", "bar"}},
		{Matchers: match(t, `group_by="role"`), GroupBy: []string{"role"}, Routes: []notify.Route{
			{Receiver: "testing", Matchers: match(t, `env="testing"`), Routes: []notify.Route{{Matchers: match(t, `wait="long"`), GroupWait: 2 * time.Minute}}},
		}},
	}}
	d, err := notify.New(notify.Config{Route: root, Receivers: all})
	require.NoError(t, err)
	for labels, want := range map[string][]string{
		``:                                    {`def {}:{}`},
		`owner=team-A`:                        {`A {}/{owner="team-A"}:{}`},
		`owner=team-A env=unset`:              {`A {}/{owner="team-A"}:{}`},
		`owner=team-C foo=x`:                  {`BC {}/{owner=~"team-(B|C)"}:{foo="x"}`},
		`owner=team-A env=testing`:            {`testing {}/{owner="team-A"}/{env="testing"}:{env="testing", owner="team-A"}`},
		`owner=team-A env=production`:         {`prodA {}/{owner="team-A"}/{env="production"}:{}`, `prodB {}/{owner="team-A"}/{env=~"produ.*",job=~".*"}:{}`},
		`owner=team-A env=producer`:           {`prodB {}/{owner="team-A"}/{env=~"produ.*",job=~".*"}:{}`},
		`group_by=role role=db`:               {`def {}/{group_by="role"}:{role="db"}`},
		`group_by=role env=testing`:           {`testing {}/{group_by="role"}/{env="testing"}:{}`},
		`group_by=role env=testing wait=long`: {`testing {}/{group_by="role"}/{env="testing"}/{wait="long"}:{}`},
	} {
		set := make(map[string]string)
		for _, l := range strings.Fields(labels) {
			name, value, _ := strings.Cut(l, "=")
			set[name] = value
		}
		require.Equal(t, want, d.Routes(set), labels)
	}
}

func TestMistakesOfRoutes(t *testing.T) {
	ops := []notify.Receiver{{Name: "ops"}}
	for want, cfg := range map[string]notify.Config{
		`there is no receiver ""`:    {Receivers: ops},
		`there is no receiver "web"`: {Receivers: ops, Route: notify.Route{Receiver: "ops", Routes: []notify.Route{{Receiver: "web"}}}},
		"the root route is for all":  {Receivers: ops, Route: notify.Route{Receiver: "ops", Continue: true}},
		"GroupWait must be zero":     {Receivers: ops, Route: notify.Route{Receiver: "ops", GroupWait: -1}},
		"it is all of them, or some": {Receivers: ops, Route: notify.Route{Receiver: "ops", GroupBy: []string{"a", "..."}}},
		"a receiver has no name":     {Receivers: []notify.Receiver{{}}},
		"inhibition rule 0 needs":    {Receivers: ops, Route: notify.Route{Receiver: "ops"}, Inhibit: []notify.InhibitRule{{}}},
	} {
		_, err := notify.New(cfg)
		require.ErrorContains(t, err, want)
	}
}

// TestWhoIsTold: the questions of Alertmanager's notification log, in its order.
func TestWhoIsTold(t *testing.T) {
	set := func(s string) []string { return strings.Fields(s) }
	now := at(0)
	for _, c := range []struct {
		last             *notify.Entry
		firing, resolved string
		sendResolved     bool
		want             notify.Reason
	}{
		{nil, "2 3 4", "", false, notify.FirstNotification},
		{nil, "", "2 3 4", false, ""},
		{&notify.Entry{Firing: set("1 2 3"), At: now}, "2 3 4", "", false, notify.NewAlerts},
		{&notify.Entry{Firing: set("1 2 3")}, "1 2 3", "", false, notify.RepeatElapsed},
		{&notify.Entry{Firing: set("1 2 3"), At: now.Add(-9 * time.Minute)}, "1 2 3", "", false, ""},
		{&notify.Entry{Firing: set("1 2 3"), At: now.Add(-10 * time.Minute)}, "1 2 3", "", false, ""},
		{&notify.Entry{Firing: set("1 2 3"), At: now.Add(-11 * time.Minute)}, "1 2 3", "", false, notify.RepeatElapsed},
		{&notify.Entry{Resolved: set("1 2 3"), At: now.Add(-11 * time.Minute)}, "", "3 4 5", true, ""},
		{&notify.Entry{Resolved: set("1"), At: now}, "1", "", true, notify.FirstNotification},
		{&notify.Entry{Firing: set("1 2"), Resolved: set("3"), At: now.Add(-9 * time.Minute)}, "1", "2 3", false, ""},
		{&notify.Entry{Firing: set("1 2"), Resolved: set("3"), At: now.Add(-9 * time.Minute)}, "1", "2 3", true, notify.SomeResolved},
		{&notify.Entry{Firing: set("1 2"), Resolved: set("3"), At: now.Add(-9 * time.Minute)}, "", "1 2 3", false, notify.AllResolved},
		{&notify.Entry{Firing: set("1 2"), Resolved: set("3"), At: now.Add(-9 * time.Minute)}, "", "1 2 3", true, notify.AllResolved},
	} {
		due := notify.Due{SendResolved: c.sendResolved, Repeat: 10 * time.Minute, Now: now}
		require.Equal(t, c.want, c.last.Reason(set(c.firing), set(c.resolved), due), "%+v", c)
	}
}

// TestBatching: what comes during group_wait, then during group_interval, is told together; then nothing until repeat_interval is over.
func TestBatching(t *testing.T) {
	w := newWorld(t, notify.Config{Route: notify.Route{GroupWait: time.Second, GroupInterval: time.Second, RepeatInterval: 4900 * time.Millisecond}})
	w.until(1.1)
	w.take(alert(1, 0, "alertname", "test1"))
	w.until(1.7)
	w.take(alert(1, 0, "alertname", "test5"))
	require.Equal(t, []string{"2.1 default: first notification: test1 1.0, test5 1.0"}, w.until(3.3))
	w.take(alert(3, 0, "alertname", "test2"), alert(3, 0, "alertname", "test3"))
	require.Equal(t, []string{
		"4.1 default: new alerts added: test1 1.0, test2 3.0, test3 3.0, test5 1.0",
		"9.1 default: repeat interval elapsed: test1 1.0, test2 3.0, test3 3.0, test5 1.0",
	}, w.until(10))
}

func TestAnAlertThatHasWaitedElsewhereDoesNotWait(t *testing.T) {
	w := newWorld(t, notify.Config{Route: notify.Route{GroupWait: 5 * time.Second, GroupInterval: 5 * time.Second}})
	w.until(20)
	w.take(alert(18, 0, "alertname", "young"))
	w.until(21)
	w.take(alert(1, 0, "alertname", "old"))
	require.Equal(t, []string{"21.1 default: first notification: old 1.0, young 18.0"}, w.until(24))
	w.take(alert(1, 0, "alertname", "older"))
	require.Equal(t, []string{"26.1 default: new alerts added: old 1.0, older 1.0, young 18.0"}, w.until(30)) // the group has its rhythm
}

func TestResolved(t *testing.T) {
	route := notify.Route{GroupBy: []string{"alertname"}, GroupWait: time.Second, GroupInterval: time.Second}
	w := newWorld(t, notify.Config{Route: route})
	w.take(alert(0, 0, "alertname", "a"), alert(0, 0, "alertname", "a", "n", "2"), alert(0, 0, "alertname", "b"))
	w.take(alert(0, 0.5, "alertname", "b")) // resolved before it was told of: nobody hears of it
	require.Equal(t, []string{"1.0 default: first notification: a 0.0, a/2 0.0"}, w.until(2.5))
	w.take(alert(0, 2.4, "alertname", "a", "n", "2"))
	require.Equal(t, []string{"3.0 default: some alerts resolved: a 0.0, a/2 0.0-2.4"}, w.until(4.5))
	w.take(alert(0, 4.5, "alertname", "a"))
	require.Equal(t, []string{"5.0 default: all alerts resolved: a 0.0-4.5"}, w.until(8))
	require.Zero(t, w.d.Alerts())
	w.take(alert(8, 0, "alertname", "a"))
	require.Equal(t, []string{"9.0 default: first notification: a 8.0"}, w.until(9.5))

	w = newWorld(t, notify.Config{Route: route, Receivers: []notify.Receiver{{Name: "default"}}})
	w.take(alert(0, 0, "alertname", "a"), alert(0, 0, "alertname", "a", "n", "2"))
	w.until(1.5)
	w.take(alert(0, 1.5, "alertname", "a"))
	require.Empty(t, w.until(3.5))
	w.take(alert(0, 3.5, "alertname", "a", "n", "2"))
	require.Empty(t, w.until(5.5)) // it wants to hear of none that is resolved
	w.take(alert(6, 0, "alertname", "a"))
	require.Equal(t, []string{"6.5 default: first notification: a 6.0"}, w.until(8))
}

// TestRefiredBetweenFlushes: one that ended and began again goes on, and the group's next flush tells of it.
func TestRefiredBetweenFlushes(t *testing.T) {
	w := newWorld(t, notify.Config{Route: notify.Route{GroupWait: time.Second, GroupInterval: 5 * time.Second}})
	w.take(alert(0, 0, "alertname", "a"))
	w.until(2)
	w.take(alert(0, 2, "alertname", "a"))
	w.until(3)
	w.take(alert(3, 0, "alertname", "a"))
	require.Empty(t, w.until(7)) // it was told of as firing, and it fires
	w.take(alert(3, 7, "alertname", "a"))
	require.Equal(t, []string{"11.0 default: all alerts resolved: a 3.0-7.0"}, w.until(12))
}

func TestSeveritiesAreOneAlertAndUpdatesOfIt(t *testing.T) {
	critical := func(start, end float64, severity string) notify.Alert {
		a := alert(start, end, "alertname", "cpu")
		a.Labels["severity"] = severity
		return a
	}
	w := newWorld(t, notify.Config{
		Route: notify.Route{Receiver: "mail", GroupWait: time.Second, GroupInterval: time.Second, Routes: []notify.Route{
			{Receiver: "pager", Matchers: match(t, `severity="critical"`), Continue: true}, {Receiver: "all", Matchers: match(t, `severity=~".+"`)},
		}},
		Receivers: []notify.Receiver{{Name: "mail"}, {Name: "pager", SendResolved: true}, {Name: "all", SendResolved: true}},
	})
	w.take(critical(0, 0, "warning"))
	require.Equal(t, []string{"1.0 all: first notification: cpu 0.0"}, w.until(1.5))
	w.take(critical(1.5, 0, "critical"))
	require.ElementsMatch(t, []string{"2.0 all: new alerts added: cpu 0.0", "1.6 pager: first notification: cpu 0.0"}, w.until(3.4))
	w.take(critical(3.4, 0, "warning"))
	require.ElementsMatch(t, []string{"4.0 all: new alerts added: cpu 0.0", "3.6 pager: all alerts resolved: cpu 0.0-3.4"}, w.until(5.2))
	w.take(critical(0, 5.2, "warning"))
	require.Equal(t, []string{"6.0 all: all alerts resolved: cpu 0.0-5.2"}, w.until(9))
	require.Zero(t, w.d.Alerts())
}

// TestInhibiting: one that is inhibited is told of again as soon as the other is resolved.
func TestInhibiting(t *testing.T) {
	w := newWorld(t, notify.Config{
		Route: notify.Route{GroupWait: time.Second, GroupInterval: time.Second, RepeatInterval: time.Hour},
		Inhibit: []notify.InhibitRule{{
			Source: match(t, `alertname="JobDown"`), Target: match(t, `alertname="InstanceDown"`), Equal: []string{"job", "zone"},
		}},
	})
	down := func(zone string) notify.Alert {
		return alert(1, 0, "alertname", "InstanceDown", "job", "j", "zone", zone)
	}
	w.until(1)
	w.take(down("aa"), down("ab"))
	require.Equal(t, []string{"2.0 default: first notification: InstanceDown/aa 1.0, InstanceDown/ab 1.0"}, w.until(2.2))
	w.take(alert(2.2, 0, "alertname", "JobDown", "job", "j", "zone", "aa"), alert(2.2, 0, "alertname", "JobDown", "job", "other", "zone", "ab"))
	_, by := w.d.Muted(down("aa").Fingerprint, at(2.2))
	require.Contains(t, by, "JobDown")
	require.Equal(t, []string{"3.0 default: new alerts added: InstanceDown/ab 1.0, JobDown/aa 2.2, JobDown/ab 2.2"}, w.until(3.5))
	w.take(alert(2.2, 3.5, "alertname", "JobDown", "job", "j", "zone", "aa"))
	require.Equal(t, []string{"4.0 default: new alerts added: InstanceDown/aa 1.0, InstanceDown/ab 1.0, JobDown/aa 2.2-3.5, JobDown/ab 2.2"}, w.until(4.5))
}

// TestInhibitionIsByAnySource: one of two that inhibit is resolved, and the other still does; both sides of a rule do not inhibit each other.
func TestInhibitionIsByAnySource(t *testing.T) {
	w := newWorld(t, notify.Config{
		Route: notify.Route{GroupBy: []string{"alertname"}, GroupWait: time.Second, GroupInterval: time.Second},
		Inhibit: []notify.InhibitRule{
			{Source: match(t, `alertname="down"`), Target: match(t, `alertname="slow"`), Equal: []string{"zone"}},
			{Source: match(t, `kind="x"`), Target: match(t, `kind=~"x|y"`)},
		},
	})
	w.take(alert(0, 0, "alertname", "slow"), alert(0, 0, "alertname", "down", "n", "1"), alert(0, 0, "alertname", "down", "n", "2"))
	w.take(alert(0, 0, "alertname", "b1", "kind", "x"), alert(0, 0, "alertname", "b2", "kind", "x"), alert(0, 0, "alertname", "b3", "kind", "y"))
	require.ElementsMatch(t, []string{ // a label that both do not have is the same
		"1.0 default: first notification: down/1 0.0, down/2 0.0", "1.0 default: first notification: b1 0.0", "1.0 default: first notification: b2 0.0",
	}, w.until(1.5))
	w.take(alert(0, 1.5, "alertname", "down", "n", "1"))
	require.Equal(t, []string{"2.0 default: some alerts resolved: down/1 0.0-1.5, down/2 0.0"}, w.until(2.5))
	w.take(alert(0, 2.5, "alertname", "down", "n", "2"))
	require.ElementsMatch(t, []string{"3.0 default: all alerts resolved: down/2 0.0-2.5", "3.0 default: first notification: slow 0.0"}, w.until(3.5))
}

func TestSilences(t *testing.T) {
	w := newWorld(t, notify.Config{Route: notify.Route{GroupWait: time.Second, GroupInterval: time.Second}})
	w.d.Silence(notify.Silence{ID: "s", Matchers: match(t, `alertname="a",n!="2"`), StartsAt: at(0), EndsAt: at(3)})
	w.take(alert(0, 0, "alertname", "a"), alert(0, 0, "alertname", "a", "n", "2"))
	by, _ := w.d.Muted(alert(0, 0, "alertname", "a").Fingerprint, at(1))
	require.Equal(t, []string{"s"}, by)
	require.Equal(t, []string{"1.0 default: first notification: a/2 0.0", "3.0 default: new alerts added: a 0.0, a/2 0.0"}, w.until(4.5))
	w.d.Silence(notify.Silence{ID: "all", Matchers: match(t, `alertname="a"`), StartsAt: at(4), EndsAt: at(100)})
	w.take(alert(0, 4.5, "alertname", "a"), alert(0, 4.5, "alertname", "a", "n", "2"))
	require.Empty(t, w.until(7)) // nor is anybody told that it is over
	w.d.Unsilence("all")
	w.take(alert(7, 0, "alertname", "b"))
	require.Equal(t, []string{"8.0 default: new alerts added: b 7.0"}, w.until(9))

	for want, s := range map[string]notify.Silence{
		"no matcher":    {StartsAt: at(0), EndsAt: at(1)},
		"of everything": {Matchers: match(t, `a=~".*"`), StartsAt: at(0), EndsAt: at(1)},
		"not after its": {Matchers: match(t, `a="b"`), StartsAt: at(1), EndsAt: at(1)},
	} {
		require.ErrorContains(t, s.Validate(), want)
	}
}

func TestMatchers(t *testing.T) {
	for text, want := range map[string]string{
		`{a="b",c!="d"}`:        `{a="b",c!="d"}`,
		`a=b, c=~d.*`:           `{a="b",c=~"d.*"}`,
		` { a !~ "x|y" , } `:    `{a!~"x|y"}`,
		`{}`:                    `{}`,
		``:                      `{}`,
		`a=""`:                  `{a=""}`,
		`a=`:                    `{a=""}`,
		`a="say \"hi\"\n\\ \d"`: `{a="say \"hi\"\n\\ \\d"}`,
		`"a b"="ü"`:             `{"a b"="ü"}`,
	} {
		got := match(t, text)
		require.Equal(t, want, got.String(), text)
		require.Equal(t, want, match(t, got.String()).String())
		data, err := json.Marshal(got)
		require.NoError(t, err)
		var back notify.Matchers
		require.NoError(t, json.Unmarshal(data, &back))
		require.Equal(t, want, back.String())
	}
	for text, want := range map[string]string{
		`{a="b"`:    "column 7: a } is missing",
		`a`:         "column 2: one of =, !=",
		`="b"`:      "column 1: the name of a label",
		`a="b`:      "this quote does not end",
		`a="b" c=d`: "column 7: a comma or the end",
		`a=b}`:      "column 4: a comma or the end",
		`a=~"("`:    "the pattern of a",
		`{a=b}x`:    "nothing more is expected",
	} {
		_, err := notify.Parse(text)
		require.ErrorContains(t, err, want, text)
	}
	require.True(t, match(t, `a=~"x.z"`).Match(map[string]string{"a": "xyz"}))
	require.False(t, match(t, `a=~"y"`).Match(map[string]string{"a": "xyz"})) // anchored
	require.True(t, match(t, `a!~"y",b=""`).Match(nil))
	require.False(t, notify.Matchers{{}}.Match(nil))
}

func FuzzParse(f *testing.F) {
	f.Add(`{a="b",c!~"d.*"}`)
	f.Add(`"a b" =~ "\"x\n",`)
	f.Fuzz(func(t *testing.T, text string) {
		ms, err := notify.Parse(text)
		if err != nil {
			return
		}
		again, err := notify.Parse(ms.String())
		require.NoError(t, err, "%q", ms.String())
		require.Equal(t, ms.String(), again.String())
		ms.Match(map[string]string{"a": text})
	})
}
