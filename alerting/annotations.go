package alerting

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of annotations, in bytes: of the text of a template, and of what it may become.
const (
	maxTemplateBytes   = 16 << 10
	maxAnnotationBytes = 4 << 10
)

// TemplateData is what the templates of annotations are given. $labels, $value and $context stand for .Labels, .Value and .Context.
//
//	{{.Key}} is at {{printf "%.1f" .Value}} since {{.Since.Format "15:04"}}: {{.Context.total}} lines, the first {{.Context.first.message}}
//
// Templates have the actions of text/template and its functions and, or, not, len, index, slice, print, printf, println, eq, ne, lt, le,
// gt and ge, within bounds: a range goes over $labels, $context or a part of them, ranges are not nested, there is no define, and
// print takes texts and numbers of 8 KiB in all. What a template makes is cut at 4 KiB. One that fails with the data of an alarm costs
// its text, which then says why, and not the alarm.
type TemplateData struct {
	Rule, Key string
	State     State
	Severity  string
	// Value, Threshold, Sample and Peak are those of the Alarm.
	Value, Threshold, Sample, Peak float64
	Since, At                      time.Time
	// Duration is from Since to At.
	Duration time.Duration
	Labels   map[string]string
	Reason   string
	// Context is the context as JSON has it: objects are maps, numbers float64.
	Context any
}

// annotations are the templates of a rule, by the name of the annotation.
type annotations map[string]*template.Template

// shorthands are what Prometheus' templates begin with; the line break is not in it, so that places stay what they are.
const shorthands = `{{$labels := .Labels}}{{$value := .Value}}{{$context := .Context}}`

// annotations reads the rule's templates and tries them.
func (r *Rule[V]) annotations() (annotations, error) {
	texts := make(annotations, len(r.Annotations))
	for _, name := range slices.Sorted(maps.Keys(r.Annotations)) {
		parsed, err := r.annotation(name, r.Annotations[name])
		if err != nil {
			return nil, err
		}
		texts[name] = parsed
	}
	return texts, nil
}

// CheckAnnotation returns what is wrong with a template, as one of this rule. The error is a *TemplateError.
func (r *Rule[V]) CheckAnnotation(name, text string) error {
	_, err := r.annotation(name, text)
	return err
}

func (r *Rule[V]) annotation(name, text string) (*template.Template, error) {
	t, err := parseTemplate(text)
	if err == nil {
		err = r.try(t, text)
	}
	if err != nil {
		return nil, &TemplateError{Annotation: name, Err: err}
	}
	return t, nil
}

func parseTemplate(text string) (t *template.Template, err error) {
	if len(text) > maxTemplateBytes {
		return nil, fmt.Errorf("the template has %d bytes: at most %d are taken", len(text), maxTemplateBytes)
	}
	if !utf8.ValidString(text) {
		return nil, errors.New("the template is not UTF-8")
	}
	t, err = template.New("annotation").Funcs(functions()).Parse(shorthands + text)
	if err != nil {
		return nil, errors.New(place(err.Error(), text))
	}
	if len(t.Templates()) > 1 {
		return nil, errors.New("define and block are not for annotations: write the text where it belongs")
	}
	return t, inAnnotations.Check(t.Tree)
}

// place makes an error of text/template name the line and column of the user's text.
func place(message, text string) string {
	message = strings.TrimPrefix(message, "template: annotation:")
	line, rest, ok := strings.Cut(message, ":")
	if !ok {
		return message
	}
	column, reason, ok := strings.Cut(rest, ":")
	var at int
	if _, err := fmt.Sscanf(column, "%d", &at); err != nil || !ok {
		return fmt.Sprintf("line %s:%s", line, rest)
	}
	if line == "1" {
		at -= len(shorthands)
	}
	first, _, _ := strings.Cut(text, "\n")
	return fmt.Sprintf("line %s, column %d:%s", line, max(min(at, len(first)), 0)+1, reason)
}

// try fills a template in with the data of a made-up alarm: a field that there is not shows.
func (r *Rule[V]) try(t *template.Template, text string) error {
	var zero V
	context, err := attempt(func() ([]byte, error) { return r.encodeContext(zero) })
	if err != nil {
		context = []byte("{}") // it cannot be made of nothing: that says nothing against the template
	}
	_, err = render(t, &Alarm{Rule: r.Name, Context: context, State: Firing})
	if err == nil || !strings.Contains(err.Error(), "can't evaluate field") {
		return nil // what else fails, such as an index into lines that there are none of, may be right with data
	}
	return errors.New(place(err.Error(), text))
}

// attempt calls a function of the user that may not be ready for the zero value.
func attempt(f func() ([]byte, error)) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return f()
}

// fill makes the annotations of an alarm.
func (a annotations) fill(alarm *Alarm) map[string]string {
	if len(a) == 0 {
		return nil
	}
	texts := make(map[string]string, len(a))
	for name, t := range a {
		text, err := render(t, alarm)
		if err != nil {
			text += " (this text is not complete: " + err.Error() + ")"
		}
		texts[name] = text
	}
	return texts
}

var errCut = errors.New("too long")

// bounded is a writer of so many bytes.
type bounded struct {
	b strings.Builder
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if room := maxAnnotationBytes - b.b.Len(); len(p) > room {
		b.b.Write(p[:room])
		return room, errCut
	}
	return b.b.Write(p)
}

func render(t *template.Template, a *Alarm) (text string, err error) {
	defer func() {
		if p := recover(); p != nil { // a method of a value in the data
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	data := TemplateData{
		Rule: a.Rule, Key: a.Key, State: a.State, Severity: a.Severity, Value: a.Value, Threshold: a.Threshold, Sample: a.Sample, Peak: a.Peak,
		Since: a.Since, At: a.At, Duration: a.At.Sub(a.Since), Labels: a.Labels, Reason: a.Reason,
	}
	if err := json.Unmarshal(a.Context, &data.Context, jsontext.AllowInvalidUTF8(true)); err != nil {
		return "", fmt.Errorf("the context: %w", err)
	}
	var out bounded
	err = t.Execute(&out, data)
	text = strings.ToValidUTF8(out.b.String(), "")
	if errors.Is(err, errCut) {
		return text + "...", nil
	}
	if err != nil {
		return text, err
	}
	return text, nil
}
