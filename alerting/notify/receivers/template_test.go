package receivers_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/receivers"
)

func parsed(t testing.TB, text string) *receivers.Template {
	t.Helper()
	made, err := receivers.ParseTemplate(text)
	require.NoError(t, err, text)
	return made
}

// summary is what PagerDuty is told with a template.
func summary(t *testing.T, l *listener, text string) string {
	t.Helper()
	p := &receivers.PagerDuty{HTTP: receivers.HTTP{URL: receivers.Text(l.URL)}, RoutingKey: receivers.Text("key"), Summary: parsed(t, text)}
	n := notification()
	n.GroupLabels["team"] = "web ops"
	require.NoError(t, p.Send(t.Context(), delivery(n)))
	var event struct{ Payload struct{ Summary string } }
	require.NoError(t, json.Unmarshal(l.got()[len(l.got())-1].body, &event))
	return event.Payload.Summary
}

// TestTemplates: Alertmanager's data and functions.
func TestTemplates(t *testing.T) {
	l := listen(t)
	for text, want := range map[string]string{
		`{{.Status | toUpper}} {{.CommonLabels.alertname}}`:                                                      "FIRING HighCPU",
		`{{.Receiver}} {{.GroupKey}} {{.NotificationReason}} {{.TruncatedAlerts}}`:                               `ops {}:{alertname="HighCPU"} first notification 0`,
		`{{len .Alerts.Firing}}/{{len .Alerts}}{{range .Alerts.Firing}} {{.Labels.key}} {{.Fingerprint}}{{end}}`: "1/2 a f1",
		`{{range $i, $a := .Alerts.Resolved}}{{$i}} {{$a.Status}} {{$a.EndsAt.Format "15:04:05"}}{{end}}`:        "0 resolved 12:00:30",
		`{{range .Alerts}}{{range .Labels.SortedPairs}}{{.Name}}={{.Value}} {{end}}{{end}}`:                      "alertname=HighCPU key=a severity=critical alertname=HighCPU key=b severity=critical ",
		`{{.GroupLabels.Values | join ", "}} {{.GroupLabels.Names | join "+" | title}}`:                          "HighCPU, web ops Alertname+team",
		`{{title .GroupLabels.team}} {{trimSpace "  x "}} {{toLower "Y"}}`:                                       "Web Ops x y",
		`{{if match "^web" .GroupLabels.team}}{{reReplaceAll "(w)eb" "$1" .GroupLabels.team}}{{end}}`:            "w ops",
		`{{with index .Alerts 0}}{{.Annotations.summary}} {{slice .Labels.alertname 0 4}}{{end}}`:                "hot High",
		`{{.CommonAnnotations.missing}}x`:                                                                        "x",
	} {
		require.Equal(t, want, summary(t, l, text), text)
	}
}

// TestTemplatesThatFail: nobody is not told because of one.
func TestTemplatesThatFail(t *testing.T) {
	l := listen(t)
	for text, want := range map[string]string{
		`x{{index .Alerts 7}}`:                       "error calling index",
		`x{{reReplaceAll .GroupLabels.team "" "("}}`: "", // the pattern is that of the data, and is one
		`{{match "(" "x"}}`:                          "missing closing )",
		`{{match .GroupKey .GroupKey}}{{range .Alerts}}{{continue}}{{end}}{{slice "x" 5}}`: "error calling slice",
		` {{if false}}x{{end}} `: "it makes no text",
		``:                       "it makes no text",
		`{{$x := join "x" .GroupLabels.Names}}{{reReplaceAll "" "` + strings.Repeat("y", 300) + `" $x}}`: "reReplaceAll",
	} {
		got := summary(t, l, text)
		if want == "" {
			require.Equal(t, "x(", got)
			continue
		}
		require.True(t, strings.HasPrefix(got, `[FIRING:1] HighCPU (team="web ops") (the template failed: `), got)
		require.Contains(t, got, want)
	}
	require.Len(t, summary(t, l, `{{range .Alerts}}`+strings.Repeat("\u00fc", 600)+`{{end}}`), 1023) // whole characters
}

func TestMistakesOfTemplates(t *testing.T) {
	for text, want := range map[string]string{
		"x\n{{.Nope}}":                                        "template:2:2",
		"x\n\n{{nope}}":                                       "template:3: function \"nope\" not defined",
		`{{range .Alerts}}{{.Nope}}{{end}}`:                   "can't evaluate field Nope",
		`{{range .Alerts}}`:                                   "unexpected EOF",
		`{{define "x"}}{{end}}`:                               "define and block are not taken",
		`{{template "template"}}`:                             "line 1: template is not taken",
		`{{block "x" .}}{{end}}`:                              "define and block are not taken",
		`{{range 1000000000}}{{end}}`:                         "range 1000000000: it goes over",
		`{{$x := 1000000000}}{{range $x}}{{end}}`:             "range $x: it goes over",
		`{{range .TruncatedAlerts}}{{end}}`:                   "range .TruncatedAlerts: it goes over",
		"{{range .Alerts}}\n{{range $.Alerts}}{{end}}{{end}}": "line 2: range $.Alerts: it goes over",
		`{{range .Alerts}}{{with $}}{{range .Alerts.Firing}}{{end}}{{end}}{{end}}`:       "range .Alerts.Firing: it goes over",
		`{{range .Alerts}}{{range .Labels}}{{range $.GroupLabels}}{{end}}{{end}}{{end}}`: "range $.GroupLabels: it goes over",
		`{{range .Alerts}}{{else}}{{range 5}}{{end}}{{end}}`:                             "range 5: it goes over",
		`{{range slice .Alerts 1}}{{end}}`:                                               "it goes over",
		`{{printf "%1000000000d" 1}}`:                                                    "printf is not taken",
		`{{if (html "x")}}{{end}}`:                                                       "html is not taken",
		`{{call .Alerts.Firing}}`:                                                        "call is not taken",
		`{{(print "x").y}}`:                                                              "print is not taken",
		strings.Repeat("x", 17<<10):                                                      "at most 16384 of UTF-8",
		"\xff":                                                                           "at most 16384 of UTF-8",
	} {
		_, err := receivers.ParseTemplate(text)
		require.ErrorContains(t, err, want, text)
	}
}

// TestTemplatesOfSlackAndMail: what comes from outside is no markup, and no header.
func TestTemplatesOfSlackAndMail(t *testing.T) {
	l := listen(t)
	n := notification()
	n.Alerts[0].Labels["key"] = "<!channel>"
	slack := &receivers.Slack{
		HTTP: receivers.HTTP{URL: receivers.Text(l.URL)}, Title: parsed(t, `<http://x|{{.Status}}>`), Text: parsed(t, `{{range .Alerts}}*{{.Labels.key}}* {{end}}`),
	}
	require.NoError(t, slack.Send(t.Context(), delivery(n)))
	var m struct {
		Attachments []struct{ Title, Fallback, Text string }
	}
	require.NoError(t, json.Unmarshal(l.got()[0].body, &m))
	require.Equal(t, "<http://x|firing>", m.Attachments[0].Title)
	require.Equal(t, m.Attachments[0].Title, m.Attachments[0].Fallback)
	require.Equal(t, "*&lt;!channel&gt;* *b* ", m.Attachments[0].Text)
	for range 2000 {
		n.Alerts = append(n.Alerts, n.Alerts[0])
	}
	require.NoError(t, slack.Send(t.Context(), delivery(n)))
	require.NoError(t, json.Unmarshal(l.got()[1].body, &m))
	require.LessOrEqual(t, len(m.Attachments[0].Text), 3000)

	o := openPostOffice(t)
	mail := &receivers.Mail{
		Host: "localhost", Port: o.Addr().(*net.TCPAddr).Port, From: "rossby@example.org", To: []string{"ann@example.org"},
		TLS: &tls.Config{RootCAs: o.roots, ServerName: "localhost", MinVersion: tls.VersionTLS12}, Timeout: 10 * time.Second,
		Subject: parsed(t, `{{.Status}}: {{.GroupLabels.team}}`), Text: parsed(t, "{{len .Alerts}} shown, {{.TruncatedAlerts}} more"),
	}
	n.GroupLabels["team"] = "web\r\nBcc: all@example.org"
	require.NoError(t, mail.Send(t.Context(), delivery(n)))
	got := o.taken()[0]
	require.Contains(t, got, "Subject: firing: web")
	require.NotContains(t, got, "\nBcc:")
	require.Contains(t, got, "500 shown, 1502 more")
}

// FuzzTemplate: whatever it is, it is refused, or makes a text within its limit.
func FuzzTemplate(f *testing.F) {
	f.Add(`{{.Status | toUpper}} {{range .Alerts.Firing}}{{.Labels.key}} {{range .Labels.SortedPairs}}{{.Name}}{{end}}{{end}}`)
	f.Add(`{{with $x := index .Alerts 0}}{{reReplaceAll "(.)" "$1$1" $x.Labels.key}}{{title "a"}}{{else}}{{break}}{{end}}`)
	n := notification()
	f.Fuzz(func(t *testing.T, text string) {
		made, err := receivers.ParseTemplate(text)
		if err == nil {
			require.LessOrEqual(t, len(made.Words(&n, 100)), 100)
		}
	})
}

// TestTemplatesDoNotSpin searches a long text for each label of each alert: it would take minutes.
func TestTemplatesDoNotSpin(t *testing.T) {
	long := strings.Repeat("a", 8000)
	searching := parsed(t, `{{range .Alerts}}{{range .Labels.SortedPairs}}{{if match "(a|b)*c$" "`+long+`"}}x{{end}}{{end}}{{end}}`)
	n := notify.Notification{Receiver: "r"}
	labels := make(map[string]string)
	for i := range 20 {
		labels[fmt.Sprint("label", i)] = "v"
	}
	for range 500 {
		n.Alerts = append(n.Alerts, notify.Alert{Labels: labels})
	}
	require.Contains(t, searching.Words(&n, 100_000), "the functions have taken more than 1048576 bytes in all")
}
