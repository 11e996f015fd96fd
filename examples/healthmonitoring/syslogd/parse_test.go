package syslogd

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/leodido/go-syslog/v4/rfc3164"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
)

var (
	received = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	stamped  = time.Date(2026, 11, 3, 5, 0, 1, 0, time.UTC)
)

func live() Options { return Options{Host: "receiver", Location: time.UTC, Now: received} }

func line(host, app, procID, message string) health.Syslog {
	return health.Syslog{Host: host, Time: stamped, Severity: "notice", Facility: "user", App: app, ProcID: procID, Message: message}
}

func TestParseLine(t *testing.T) {
	with := func(s health.Syslog, change func(*health.Syslog)) health.Syslog { change(&s); return s }
	at := func(s health.Syslog, t time.Time) health.Syslog { s.Time = t; return s }
	crit := func(s *health.Syslog) { s.Severity, s.Facility = "crit", "daemon" }
	for text, want := range map[string]health.Syslog{
		// RFC 5424
		"<26>1 2026-11-03T05:00:01Z web1 app 12 ID7 - text\n":                with(line("web1", "app", "12", "text"), func(s *health.Syslog) { crit(s); s.MsgID = "ID7" }),
		"<13>1 2026-11-03T06:00:01.000000+01:00 h - - - [a b=\"c\"] \ufefft": line("h", "", "", "t"),
		"<13>1 - - - - - -": at(line("receiver", "", "", ""), received),
		"<13>1 1754-08-30T22:43:41.128654Z h - - - - old": at(line("h", "", "", "old"), time.Date(1754, 8, 30, 22, 43, 41, 128654000, time.UTC)),
		"<13>1 2026-11-03T05:00:01Z h - - - - a\nb\xff":   line("h", "", "", "a\nb\ufffd"),
		// RFC 3164 and what is sent under its name
		"<26>Nov  3 05:00:01 web1 app[12]: disk failure":   with(line("web1", "app", "12", "disk failure"), crit),
		"<13>Nov 03 05:00:01 web1 app: text\r\n\x00":       line("web1", "app", "", "text"),
		"<13> Nov  3 05:00:01  web1  app: text":            line("web1", "app", "", "text"),
		"<13>Nov  3 05:00:01.25 web1 app: text":            at(line("web1", "app", "", "text"), stamped.Add(250*time.Millisecond)),
		"<13>Nov  3 2023 05:00:01 web1 app: text":          at(line("web1", "app", "", "text"), stamped.AddDate(-3, 0, 0)),
		"<13>2026-11-03T05:00:01+00:00 web1 app: text":     line("web1", "app", "", "text"),
		"<13>Nov  3 05:00:01 app: text":                    line("receiver", "app", "", "text"),
		"<13>Nov  3 05:00:01 app[7]: text":                 line("receiver", "app", "7", "text"),
		"<13>Nov  3 05:00:01 - app: text":                  line("receiver", "app", "", "text"),
		"<13>Nov  3 05:00:01 fe80::1 app: text":            line("fe80::1", "app", "", "text"),
		"<13>Nov  3 05:00:01 fe80:: app: text":             line("fe80::", "app", "", "text"),
		"<13>Nov  3 05:00:01 10.0.0.1 app: text":           line("10.0.0.1", "app", "", "text"),
		"<13>Nov  3 05:00:01 web1 kernel: [ 1.2] text":     line("web1", "kernel", "", "[ 1.2] text"),
		"<13>Nov  3 05:00:01 web1 (systemd)[1]: text":      line("web1", "(systemd)", "1", "text"),
		"<13>Nov  3 05:00:01 web1 app[]: text":             line("web1", "app", "", "text"),
		"<13>Nov  3 05:00:01 web1 app[7]:text":             line("web1", "app", "7", "text"),
		"<13>Nov  3 05:00:01 web1 app:":                    line("web1", "app", "", ""),
		"<13>Nov  3 05:00:01 web1 http://x/ is down":       line("web1", "", "", "http://x/ is down"),
		"<13>Nov  3 05:00:01 web1 rows[3] is bad":          line("web1", "", "", "rows[3] is bad"),
		"<13>Nov  3 05:00:01 web1 -- MARK --":              line("web1", "", "", "-- MARK --"),
		"<13>Nov  3 05:00:01 web1 app: \x1b[31mred\x1b[0m": line("web1", "app", "", "\x1b[31mred\x1b[0m"),
		"<13>Nov  3 05:00:01 web1 app: a\nb":               line("web1", "app", "", "a\nb"),
		"<13>Nov  3 05:00:01 web1 app: \xff\xfe":           line("web1", "app", "", "\ufffd"),
		"<13>Nov  3 05:00:01 w\u00e9b app: text":           line("receiver", "", "", "w\u00e9b app: text"),
		"<13>Nov  3 05:00:01 text":                         line("receiver", "", "", "text"),
		"<26>disk failure":                                 with(at(line("receiver", "", "", "disk failure"), received), crit),
		"<13>app[3]: text":                                 at(line("receiver", "app", "3", "text"), received),
		"<13>May the disk live":                            at(line("receiver", "", "", "May the disk live"), received),
		// files
		"Nov  3 05:00:01 web1 app[12]: text":                          line("web1", "app", "12", "text"),
		"2026-11-03T05:00:01.123456789+00:00 web1 app[12]: text":      at(line("web1", "app", "12", "text"), stamped.Add(123456789)),
		"2026-11-03T05:00:01Z web1 systemd-logind[7]: New session 1.": line("web1", "systemd-logind", "7", "New session 1."),
	} {
		t.Run(text, func(t *testing.T) {
			got, err := ParseLine([]byte(text), live())
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestParseLineRefuses(t *testing.T) {
	replayed := Options{Host: "receiver", Location: time.UTC}
	for _, c := range []struct {
		text string
		opts Options
		want error
	}{
		{"", live(), ErrMalformed},
		{"hello", live(), ErrMalformed},
		{"12345", live(), ErrMalformed},
		{"<", live(), ErrMalformed},
		{"<>x", live(), ErrMalformed},
		{"<013>x", live(), ErrMalformed},
		{"<192>x", live(), ErrMalformed},
		{"<1a>x", live(), ErrMalformed},
		{"<1234>x", live(), ErrMalformed},
		{"<13", live(), ErrMalformed},
		{"<13>", live(), ErrMalformed},
		{"<13>1 x", live(), ErrMalformed},
		{"<13>1 2026-02-30T05:00:01Z h - - - - x", live(), ErrMalformed},
		{"<13>1 2026-11-03T05:00:01Z h - - - [a][a] x", live(), ErrMalformed},
		{"<13>Nov 31 05:00:01 web1 app: x", live(), ErrMalformed},
		{"<13>Nov  0 05:00:01 web1 app: x", live(), ErrMalformed},
		{"<13>Nov  3 25:00:01 web1 app: x", live(), ErrMalformed},
		{"<13>Nov  3 05:00:01", live(), ErrMalformed},
		{"<13>Nov  3 05:00:01 ", live(), ErrMalformed},
		{"2026-13-03T05:00:01Z web1 app: x", live(), ErrMalformed},
		{"2026-11-03T05:00:01 web1 app: x", live(), ErrMalformed},
		{"May the disk live", live(), ErrMalformed},
		{"9999-12-31T23:59:59-01:00 web1 app: x", live(), ErrMalformed},
		{"<13>1 0000-01-01T00:00:00+01:00 web1 app - - - x", live(), ErrMalformed},
		{"<13>x", replayed, ErrNoTime},
		{"<13>1 - h - - - - x", replayed, ErrNoTime},
		{"<13>Nov  3 05:00:01 web1 app: x", replayed, ErrNoYear},
		{"<13>Nov  3 05:00:01 app: x", Options{Now: received}, ErrNoHost},
		{"<13>1 2026-11-03T05:00:01Z - - - - - x", Options{Now: received}, ErrNoHost},
	} {
		got, err := ParseLine([]byte(c.text), c.opts)
		require.ErrorIs(t, err, c.want, "%q", c.text)
		require.Zero(t, got)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestYearIsInferred(t *testing.T) {
	amsterdam := time.FixedZone("CET", 3600)
	for _, c := range []struct {
		stamp, now, want string
		zone             *time.Location
	}{
		{"Nov 23 11:59:59", "2026-11-23T12:00:00Z", "2026-11-23T11:59:59Z", time.UTC},
		{"Dec 31 23:59:59", "2027-01-01T00:00:01Z", "2026-12-31T23:59:59Z", time.UTC},
		{"Jan  1 00:00:01", "2026-12-31T23:59:59Z", "2027-01-01T00:00:01Z", time.UTC}, // a clock ahead
		{"Jan  1 00:30:00", "2026-12-31T23:30:01Z", "2026-12-31T23:30:00Z", amsterdam},
		{"Dec 31 23:59:59", "2026-12-31T23:30:00Z", "2026-12-31T22:59:59Z", amsterdam},
		{"Nov 30 12:00:00", "2026-11-23T12:00:00Z", "2026-11-30T12:00:00Z", time.UTC}, // exactly a week ahead
		{"Nov 30 12:00:01", "2026-11-23T12:00:00Z", "2025-11-30T12:00:01Z", time.UTC},
		{"Feb 29 12:00:00", "2026-03-01T00:00:00Z", "2024-02-29T12:00:00Z", time.UTC},
		{"Feb 29 12:00:00", "2028-02-29T12:00:00Z", "2028-02-29T12:00:00Z", time.UTC},
		{"Feb 29 12:00:00", "1903-06-01T00:00:00Z", "1896-02-29T12:00:00Z", time.UTC},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		require.NoError(t, err)
		got, err := ParseLine([]byte("<13>"+c.stamp+" web1 app: x"), Options{Now: now, Location: c.zone})
		require.NoError(t, err)
		require.Equal(t, c.want, got.Time.Format(time.RFC3339), "%s at %s", c.stamp, c.now)
	}
	got, err := ParseLine([]byte("Dec 31 23:59:59 web1 app: x"), Options{Year: 1999, Location: time.UTC, Now: received})
	require.NoError(t, err)
	require.Equal(t, 1999, got.Time.Year())
	_, err = ParseLine([]byte("Feb 29 23:59:59 web1 app: x"), Options{Year: 1999, Location: time.UTC})
	require.ErrorIs(t, err, ErrMalformed)
}

func TestLineTooHostileForItsHeader(t *testing.T) {
	for _, text := range []string{
		"<13>Nov  3 05:00:01 " + strings.Repeat("h", 300) + " app: x",
		"<13>Nov  3 05:00:01 web1 " + strings.Repeat("a", 500) + ": x",
		"<13>Nov  3 05:00:01 web1 app[" + strings.Repeat("1", 500) + "]: x",
	} {
		got, err := ParseLine([]byte(text), live())
		require.NoError(t, err)
		require.LessOrEqual(t, len(got.Host), maxHost)
		require.LessOrEqual(t, len(got.App), maxTag)
		require.LessOrEqual(t, len(got.ProcID), maxTag)
		require.Contains(t, text, got.Message)
		require.Greater(t, len(got.Message), 300)
	}
}

// TestBSDFormAgreesWithGoSyslog compares with the library on lines that keep to the letter of RFC 3164.
func TestBSDFormAgreesWithGoSyslog(t *testing.T) {
	machine := rfc3164.NewMachine(rfc3164.WithYear(rfc3164.Year{YYYY: 2026}))
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	n := 0
	for _, stamp := range []string{"Nov  3 05:00:01", "Dec 31 23:59:59", "Jan 10 00:00:00"} {
		for _, host := range []string{"web1", "10.0.0.1", "web1.example.com", "ts-basic-service-5dc8d4f9fd-46997"} {
			for _, tag := range []string{"app: ", "app[12]: ", "/usr/sbin/cron[1]: ", "%ASA-6-302013: ", "systemd-logind[7]: ", ""} {
				for _, message := range []string{"text", "a: b", "GET /x [200]", "(root) CMD (x)"} {
					for _, priority := range []int{0, 13, 26, 191} {
						if tag == "" && strings.Contains(message, ":") {
							continue
						}
						raw := fmt.Sprintf("<%d>%s %s %s%s", priority, stamp, host, tag, message)
						parsed, err := machine.Parse([]byte(raw))
						require.NoError(t, err)
						want := parsed.(*rfc3164.SyslogMessage)
						got, err := ParseLine([]byte(raw), Options{Year: 2026, Location: time.UTC})
						require.NoError(t, err)
						require.Equal(t, health.Syslog{
							Host: text(want.Hostname), Time: *want.Timestamp, Severity: got.Severity, Facility: got.Facility,
							App: text(want.Appname), ProcID: text(want.ProcID), Message: text(want.Message),
						}, got, raw)
						require.Equal(t, health.SeverityName(int(*want.Severity)), got.Severity)
						require.Equal(t, facilityName(int(*want.Facility)), got.Facility)
						n++
					}
				}
			}
		}
	}
	require.Greater(t, n, 1000)
}

func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{
		"<13>1 2026-11-03T05:00:01.5Z h app 1 ID [a b=\"c\\\"\"] \ufefftext", "<13>1 - - - - - -", "<0>Nov  3 05:00:01 h a[1]: x",
		"Nov  3 2026 05:00:01.123 h a: x", "2026-11-03T05:00:01.123456+00:00 h a[1]: x", "<191>x", "<13>Nov 3", "<13>1 1 1 1 1 1 [",
		"<13>Feb 29 05:00:01 fe80:: a[]:", "\x00<13>", "<13>\xff\x00\x1b",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := string(raw)
		got, err := ParseLine(raw, live())
		require.Equal(t, before, string(raw), "the input was changed")
		again, err2 := ParseLine(raw, live())
		require.Equal(t, got, again)
		if err != nil {
			require.EqualError(t, err2, err.Error())
			require.NotContains(t, err.Error(), "\n")
			require.ErrorIs(t, err, ErrMalformed, "only that is wrong when host, year and time are known")
			return
		}
		require.NotEmpty(t, got.Host)
		require.False(t, got.Time.IsZero())
		require.NotEqual(t, health.UnknownSeverity, got.Severity)
		require.NotEmpty(t, got.Facility)
		for _, s := range []string{got.Host, got.App, got.ProcID, got.MsgID, got.Message} {
			require.True(t, utf8.ValidString(s))
		}
		require.LessOrEqual(t, len(got.Message), 3*len(raw))
		_, err = got.Time.MarshalJSON()
		require.NoError(t, err)
	})
}

func BenchmarkParseLine(b *testing.B) {
	for name, text := range map[string]string{
		"rfc5424": "<134>1 2023-01-29T15:44:07.621571Z ts-verification-code-service-7b6dc75c45-2z9p2 server - - - [verifyCode][result: false]",
		"bsd":     "<134>Jan 29 15:44:07 ts-verification-code-service-7b6dc75c45-2z9p2 server[12]: [verifyCode][result: false]",
		"rfc3339": "2023-01-29T15:44:07.621571+00:00 ts-verification-code-service-7b6dc75c45-2z9p2 server[12]: [verifyCode][result: false]",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			raw := []byte(text)
			for b.Loop() {
				if _, err := ParseLine(raw, live()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
