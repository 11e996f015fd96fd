package receivers

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Secret is a text that does not show. The zero Secret is empty.
type Secret struct {
	read func() (string, error)
}

// Env is the value of an environment variable.
func Env(name string) Secret {
	return Secret{func() (string, error) {
		value, ok := os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		return value, nil
	}}
}

// File is the content of a file without white space around it.
func File(path string) Secret {
	return Secret{func() (string, error) {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read a secret: %w", err)
		}
		return strings.TrimSpace(string(data)), nil
	}}
}

// Text is the text itself.
func Text(text string) Secret { return Secret{func() (string, error) { return text, nil }} }

const hidden = "<secret>"

// String returns "<secret>".
func (Secret) String() string { return hidden }

// GoString returns "<secret>".
func (Secret) GoString() string { return hidden }

// MarshalText returns "<secret>".
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

var errEmpty = errors.New("it is empty")

func (s Secret) reveal() (string, error) {
	if s.read == nil {
		return "", errEmpty
	}
	text, err := s.read()
	if err == nil && text == "" {
		err = errEmpty
	}
	return text, err
}
