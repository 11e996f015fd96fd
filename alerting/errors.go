package alerting

import "fmt"

// TemplateError says what is wrong with the template of an annotation.
type TemplateError struct {
	// Annotation is its name.
	Annotation string
	Err        error
}

// Error implements error.
func (e *TemplateError) Error() string { return fmt.Sprintf("annotation %q: %v", e.Annotation, e.Err) }

// Unwrap returns what text/template says.
func (e *TemplateError) Unwrap() error { return e.Err }
