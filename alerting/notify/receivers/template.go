package receivers

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/rossby-streams/rossby/alerting/notify"
)

// Template makes a text of a notification, of the data that Alertmanager's templates have:
//
//	{{.Status | toUpper}} {{.CommonLabels.alertname}}{{range .Alerts.Firing}}
//	{{.Labels.key}}: {{.Annotations.summary}} since {{.StartsAt.Format "15:04"}}{{end}}
//
// There are .Receiver, .Status, .GroupLabels, .CommonLabels, .CommonAnnotations, .GroupKey, .NotificationReason, .Alerts with
// .Firing and .Resolved, of the first 500 alerts, and .TruncatedAlerts, how many there are beyond. An alert has .Status, .Labels,
// .Annotations, .StartsAt, .EndsAt, .GeneratorURL and .Fingerprint. Labels and annotations have .SortedPairs with .Name and .Value, .Names and
// .Values.
//
// There are text/template's actions, and, or, not, len, index, slice, eq, ne, lt, le, gt and ge, and Alertmanager's toUpper, toLower, title,
// trimSpace, join, match and reReplaceAll. There is no define. A range goes over alerts, labels or annotations, within one of alerts over
// labels or annotations.
//
// A text that is too long for where it goes is cut. A template that fails, or makes nothing, costs its text: in its place are the words that
// there are without it, and why.
type Template struct {
	parsed *template.Template
}

const (
	maxTemplateBytes  = 16 << 10
	maxTemplateAlerts = 500
	maxPatternBytes   = 256
	maxFunctionBytes  = 8 << 10
	// maxWork is how many bytes all calls of functions take in one filling, and what a pattern counts beside its text: it is compiled each time.
	maxWork     = 1 << 20
	patternWork = 1 << 10
)

// ParseTemplate reads a template and tries it. The error says where in the text what is wrong.
func ParseTemplate(text string) (*Template, error) {
	if len(text) > maxTemplateBytes || !utf8.ValidString(text) {
		return nil, fmt.Errorf("the template has %d bytes: at most %d of UTF-8 are taken", len(text), maxTemplateBytes)
	}
	parsed, err := template.New("template").Option("missingkey=zero").Funcs(functions(new(work))).Parse(text)
	if err != nil {
		return nil, err
	}
	if len(parsed.Templates()) > 1 {
		return nil, errors.New("template: define and block are not taken: write the text where it belongs")
	}
	if err := inNotices.Check(parsed.Tree); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	t := &Template{parsed: parsed}
	n := notify.Notification{Alerts: []notify.Alert{{}, {EndsAt: time.Unix(1, 0)}}}
	if _, err := t.fill(&n, maxMailBody, unescaped); err != nil && strings.Contains(err.Error(), "can't evaluate field") {
		return nil, err // what else fails may be right with data
	}
	return t, nil
}

func unescaped(s string) string { return s }

// templateData is a notification as templates see it.
type templateData struct {
	Receiver, Status, GroupKey, NotificationReason string
	GroupLabels, CommonLabels, CommonAnnotations   pairs
	Alerts                                         templateAlerts
	TruncatedAlerts                                int
}

type templateAlerts []templateAlert

type templateAlert struct {
	Status, GeneratorURL, Fingerprint string
	Labels, Annotations               pairs
	StartsAt, EndsAt                  time.Time
}

// Firing are the alerts that fire.
func (as templateAlerts) Firing() templateAlerts { return as.with(status(false)) }

// Resolved are those that do not.
func (as templateAlerts) Resolved() templateAlerts { return as.with(status(true)) }

func (as templateAlerts) with(status string) (some templateAlerts) {
	for _, a := range as {
		if a.Status == status {
			some = append(some, a)
		}
	}
	return some
}

type pairs map[string]string

type pair struct{ Name, Value string }

// SortedPairs are the names with their values, in order.
func (p pairs) SortedPairs() []pair {
	sorted := make([]pair, 0, len(p))
	for _, name := range p.Names() {
		sorted = append(sorted, pair{name, p[name]})
	}
	return sorted
}

// Names are the names in order.
func (p pairs) Names() []string { return slices.Sorted(maps.Keys(p)) }

// Values are the values in the order of the names.
func (p pairs) Values() (values []string) {
	for _, name := range p.Names() {
		values = append(values, p[name])
	}
	return values
}

// data makes the data of a notification, with what comes from outside escaped.
func data(n *notify.Notification, escape func(string) string) templateData {
	m := NewMessage(n, maxTemplateAlerts, "")
	escaped := func(m map[string]string) pairs {
		p := make(pairs, len(m))
		for name, value := range m {
			p[name] = escape(value)
		}
		return p
	}
	d := templateData{
		Receiver: m.Receiver, Status: m.Status, GroupKey: escape(m.GroupKey), NotificationReason: m.NotificationReason, GroupLabels: escaped(m.GroupLabels),
		CommonLabels: escaped(m.CommonLabels), CommonAnnotations: escaped(m.CommonAnnotations), TruncatedAlerts: m.TruncatedAlerts,
	}
	for _, a := range m.Alerts {
		d.Alerts = append(d.Alerts, templateAlert{
			Status: a.Status, GeneratorURL: escape(a.GeneratorURL), Fingerprint: a.Fingerprint, Labels: escaped(a.Labels), Annotations: escaped(a.Annotations),
			StartsAt: a.StartsAt, EndsAt: a.EndsAt,
		})
	}
	return d
}

var errFull = errors.New("too long")

// page takes so many bytes.
type page struct {
	text strings.Builder
	most int
}

// Write implements io.Writer.
func (p *page) Write(b []byte) (int, error) {
	if p.text.Len()+len(b) > p.most {
		p.text.Write(b[:p.most-p.text.Len()])
		return 0, errFull
	}
	return p.text.Write(b)
}

func (t *Template) fill(n *notify.Notification, most int, escape func(string) string) (string, error) {
	filling, err := t.parsed.Clone() // with a measure of work of its own
	if err != nil {
		return "", err
	}
	out := page{most: most}
	err = filling.Funcs(functions(new(work))).Execute(&out, data(n, escape))
	if errors.Is(err, errFull) {
		return strings.ToValidUTF8(out.text.String()[:max(most-3, 0)], "") + "...", nil
	}
	return strings.ToValidUTF8(out.text.String(), ""), err
}

// words are what a template makes, or other words for none.
func (t *Template) words(n *notify.Notification, most int, escape func(string) string, otherwise string) string {
	if t == nil {
		return otherwise
	}
	text, err := t.fill(n, most, escape)
	if err == nil && strings.TrimSpace(text) != "" {
		return text
	}
	why := "it makes no text"
	if err != nil {
		why = err.Error()
	}
	why = " (the template failed: " + cut(escape(why), most/4) + ")"
	return cut(otherwise, most-len(why)) + why
}

// work is how many bytes functions have taken in one filling: a range over alerts within which texts are searched could last for minutes.
type work struct{ done int }

func (w *work) take(text string, more int) error {
	if len(text) > maxFunctionBytes {
		return fmt.Errorf("the text has %d bytes: functions take %d", len(text), maxFunctionBytes)
	}
	if w.done += len(text) + more; w.done > maxWork {
		return fmt.Errorf("the functions have taken more than %d bytes in all: call them for fewer alerts, or on shorter texts", maxWork)
	}
	return nil
}

func functions(w *work) template.FuncMap {
	one := func(f func(string) string) func(string) (string, error) {
		return func(text string) (string, error) {
			if err := w.take(text, 0); err != nil {
				return "", err
			}
			return f(text), nil
		}
	}
	search := func(pattern, text string) (*regexp.Regexp, error) {
		if err := w.take(text, patternWork); err != nil {
			return nil, err
		}
		return compile(pattern)
	}
	return template.FuncMap{
		"toUpper": one(strings.ToUpper), "toLower": one(strings.ToLower), "trimSpace": one(strings.TrimSpace), "title": one(titled),
		"join": func(between string, texts []string) (string, error) {
			all := strings.Join(texts, between)
			return all, w.take(all, 0)
		},
		"match": func(pattern, text string) (bool, error) {
			re, err := search(pattern, text)
			if err != nil {
				return false, err
			}
			return re.MatchString(text), nil
		},
		"reReplaceAll": func(pattern, by, text string) (string, error) {
			re, err := search(pattern, text)
			if err != nil || len(by) > maxPatternBytes {
				return "", errors.Join(err, fmt.Errorf("reReplaceAll takes texts of %d bytes, and replaces by %d", maxFunctionBytes, maxPatternBytes))
			}
			return re.ReplaceAllString(text, by), nil
		},
	}
}

func compile(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxPatternBytes {
		return nil, fmt.Errorf("the pattern has %d bytes: at most %d are taken", len(pattern), maxPatternBytes)
	}
	return regexp.Compile(pattern)
}

// titled begins each word with a capital.
func titled(text string) string {
	words := strings.SplitAfter(text, " ")
	for i, word := range words {
		_, size := utf8.DecodeRuneInString(word)
		words[i] = strings.ToUpper(word[:size]) + word[size:]
	}
	return strings.Join(words, "")
}
