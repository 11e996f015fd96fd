package stream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxMappedTokens bounds the tokens of the keys that are mapped: the server looks
// at each mapping for each message that is published.
const maxMappedTokens = 16

// Mapping is a subject mapping of the server: what clients publish to From is
// published to To.
type Mapping struct {
	From, To string
}

// Mappings lets clients that know nothing of Rossby publish to a topic.
type Mappings []Mapping

// Mappings gives the mappings by which a message that any client publishes to
// <from>.<key> lands on the partition where Partition puts the key. There is one
// for each number of tokens, 1 to tokens, that keys can have: the server's
// partition function needs to know.
//
// from may be the topic's name (or empty, which is the same) where keys have one
// token: clients publish to metrics.<key> then. Longer keys need another subject,
// "in.metrics" for example, because metrics.3.web is a record's own subject
// already. Clients escape keys as EscapeKey does; keys that are words with '-' and
// '_' between them are as they are.
//
// A topic whose keys are in headers has none: a mapping cannot write headers.
func (s TopicSpec) Mappings(from string, tokens int) (Mappings, error) {
	s = s.withDefaults()
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if from == "" {
		from = s.Name
	}
	if err := s.checkMapping(from, tokens); err != nil {
		return nil, fmt.Errorf("stream: mappings for topic %q: %w", s.Name, err)
	}
	var all Mappings
	source := from
	var key, hashed strings.Builder // of the destination
	for i := 1; i <= tokens; i++ {
		source += ".*"
		fmt.Fprintf(&hashed, ",%d", i)
		fmt.Fprintf(&key, ".{{wildcard(%d)}}", i)
		all = append(all, Mapping{
			From: source,
			To:   s.Name + ".{{partition(" + strconv.Itoa(s.Partitions) + hashed.String() + ")}}" + key.String(),
		})
	}
	return all, nil
}

func (s TopicSpec) checkMapping(from string, tokens int) error {
	if s.KeyIn == Header {
		return errors.New("its keys are in headers, which a mapping cannot write (clients publish with the " + KeyHeader + " header to the partition's subject)")
	}
	if tokens < 1 || tokens > maxMappedTokens {
		return fmt.Errorf("keys of %d tokens are asked for, not 1 to %d", tokens, maxMappedTokens)
	}
	for _, token := range strings.Split(from, ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n\"'{}") {
			return fmt.Errorf("%q is no subject to publish to", from)
		}
	}
	if tokens > 1 && (from == s.Name || strings.HasPrefix(from, s.Name+".")) || tokens == 1 && strings.HasPrefix(from, s.Name+".") {
		return fmt.Errorf("%s.<key> with keys of %d tokens would take the subjects of the topic's own records (publish to another subject, \"in.%s\" for example)", from, tokens, s.Name)
	}
	return nil
}

// Config gives the mappings as the server's configuration file has them, at its
// top or within an account.
func (m Mappings) Config() string {
	var b strings.Builder
	b.WriteString("mappings: {\n")
	for _, one := range m {
		fmt.Fprintf(&b, "  %q: %q\n", one.From, one.To)
	}
	b.WriteString("}\n")
	return b.String()
}

// Commands gives the mappings as commands for accounts that are JWTs: they add
// the mapping to the account, which is to be pushed then. `nats server mapping
// <from> <to> <subject>` shows what one does to a subject.
func (m Mappings) Commands(account string) []string {
	out := make([]string, len(m))
	for i, one := range m {
		out[i] = "nsc add mapping --account " + quoted(account) + " --from " + quoted(one.From) + " --to " + quoted(one.To)
	}
	return out
}

// quoted makes a word of s for a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
