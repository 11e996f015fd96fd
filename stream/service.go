package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nuid"
	"go.uber.org/zap"
)

// ServiceConfig says how a Service shows itself.
type ServiceConfig struct {
	// Name is that of the service: letters, digits, '_' and '-'. Required. Instances of one service share it.
	Name string
	// Version is a semantic version. Required.
	Version string
	// Description is for people.
	Description string
	// Metadata is for people and their tools.
	Metadata map[string]string
}

// EndpointConfig says what a Service answers.
type EndpointConfig struct {
	// Name is shown by tools: letters, digits, '_' and '-'. Required.
	Name string
	// Subject is where requests come in; it may have wildcards. Required.
	Subject string
	// Queue is the queue group: of all endpoints with this subject and queue, one gets a request. Required.
	Queue string
	// Metadata is for people and their tools.
	Metadata map[string]string
	// Handle is called with each request, one at a time, and must not block: a request may be answered later. Required.
	Handle func(*ServiceRequest)
}

// Service is a NATS micro service: it answers requests, and tools such as `nats micro ls` find it. Its endpoints come and go while it
// runs, which those of nats.go/micro cannot; what it tells of itself is the same (ADR-32 of NATS). Its methods may be used by several
// goroutines.
type Service struct {
	c    *Client
	info micro.Info // without endpoints
	subs []*nats.Subscription
	born time.Time

	mu        sync.Mutex
	endpoints []*Endpoint
	closed    bool
}

// Endpoint is a subject that a Service answers.
type Endpoint struct {
	service *Service
	cfg     EndpointConfig
	sub     *nats.Subscription

	handling sync.Mutex // held while Handle runs
	closed   bool       // guarded by handling

	mu    sync.Mutex
	stats micro.EndpointStats
}

// ServiceRequest is a request to an Endpoint. It is answered once, by Answer or Refuse, in any goroutine.
type ServiceRequest struct {
	Subject string
	Data    []byte

	endpoint *Endpoint
	reply    string
	came     time.Time
}

// OpenService makes a service without endpoints. It lives until Close or until the connection is closed.
func (c *Client) OpenService(cfg ServiceConfig) (*Service, error) {
	if problem := nameProblem(cfg.Name); problem != "" {
		return nil, &NameError{Kind: "service", Name: cfg.Name, Problem: "it " + problem}
	}
	metadata := cfg.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	s := &Service{c: c, born: time.Now().UTC(), info: micro.Info{
		ServiceIdentity: micro.ServiceIdentity{Name: cfg.Name, ID: nuid.Next(), Version: cfg.Version, Metadata: metadata},
		Type:            micro.InfoResponseType, Description: cfg.Description,
	}}
	for verb, tell := range map[micro.Verb]func() any{micro.PingVerb: s.ping, micro.InfoVerb: s.tellInfo, micro.StatsVerb: s.tellStats} {
		if err := s.answerTools(verb, tell); err != nil {
			s.Close()
			return nil, fmt.Errorf("stream: open service %s: %w", cfg.Name, err)
		}
	}
	return s, nil
}

// answerTools answers one verb of the protocol: asked of all services, of those of this name, and of this one.
func (s *Service) answerTools(verb micro.Verb, tell func() any) error {
	for _, who := range [][2]string{{}, {s.info.Name}, {s.info.Name, s.info.ID}} {
		subject, err := micro.ControlSubject(verb, who[0], who[1])
		if err != nil {
			return err
		}
		sub, err := s.c.nc.Subscribe(subject, func(m *nats.Msg) {
			data, err := json.Marshal(tell())
			if err == nil {
				err = m.Respond(data)
			}
			if err != nil {
				s.c.log.Debug("a tool could not be told of a service", zap.String("service", s.info.Name), zap.Error(err))
			}
		})
		if err != nil {
			return err
		}
		s.subs = append(s.subs, sub)
	}
	return nil
}

func (s *Service) ping() any {
	return micro.Ping{ServiceIdentity: s.info.ServiceIdentity, Type: micro.PingResponseType}
}

func (s *Service) tellInfo() any {
	info := s.info
	info.Endpoints = []micro.EndpointInfo{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.endpoints {
		info.Endpoints = append(info.Endpoints, micro.EndpointInfo{Name: e.cfg.Name, Subject: e.cfg.Subject, QueueGroup: e.cfg.Queue, Metadata: e.cfg.Metadata})
	}
	return info
}

func (s *Service) tellStats() any {
	stats := micro.Stats{ServiceIdentity: s.info.ServiceIdentity, Type: micro.StatsResponseType, Started: s.born, Endpoints: []*micro.EndpointStats{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.endpoints {
		e.mu.Lock()
		one := e.stats
		e.mu.Unlock()
		if one.NumRequests > 0 {
			one.AverageProcessingTime = one.ProcessingTime / time.Duration(one.NumRequests)
		}
		stats.Endpoints = append(stats.Endpoints, &one)
	}
	return stats
}

// ID tells this instance of the service from others.
func (s *Service) ID() string { return s.info.ID }

// Add begins to answer a subject.
func (s *Service) Add(cfg EndpointConfig) (*Endpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("stream: service %s is closed", s.info.Name)
	}
	e := &Endpoint{service: s, cfg: cfg, stats: micro.EndpointStats{Name: cfg.Name, Subject: cfg.Subject, QueueGroup: cfg.Queue}}
	sub, err := s.c.nc.QueueSubscribe(cfg.Subject, cfg.Queue, e.handle)
	if err != nil {
		return nil, fmt.Errorf("stream: service %s, subject %s: %w", s.info.Name, cfg.Subject, err)
	}
	e.sub = sub
	s.endpoints = append(s.endpoints, e)
	return e, nil
}

// Close ends the service and its endpoints.
func (s *Service) Close() {
	s.mu.Lock()
	endpoints := s.endpoints
	s.closed, s.endpoints = true, nil
	s.mu.Unlock()
	for _, e := range endpoints {
		e.Close()
	}
	for _, sub := range s.subs {
		s.c.unsubscribe(sub)
	}
}

// unsubscribe ends a subscription. The server forgets those of a closed connection by itself.
func (c *Client) unsubscribe(sub *nats.Subscription) {
	if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		c.log.Debug("a subscription could not be ended", zap.String("subject", sub.Subject), zap.Error(err))
	}
}

// Close ends the endpoint. Handle is not called once it has returned, so Handle must not call it; requests that are on their way are
// refused with ServiceUnavailable.
func (e *Endpoint) Close() {
	e.handling.Lock()
	closed := e.closed
	e.closed = true
	e.handling.Unlock()
	if closed {
		return
	}
	s := e.service
	// The server may send requests until it has heard of it: they are refused.
	if err := e.sub.Drain(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		s.c.log.Debug("a subscription could not be drained", zap.String("subject", e.cfg.Subject), zap.Error(err))
	}
	s.mu.Lock()
	s.endpoints = slices.DeleteFunc(s.endpoints, func(other *Endpoint) bool { return other == e })
	s.mu.Unlock()
}

func (e *Endpoint) handle(m *nats.Msg) {
	r := &ServiceRequest{Subject: m.Subject, Data: m.Data, endpoint: e, reply: m.Reply, came: time.Now()}
	if r.reply == "" {
		return // nobody asks
	}
	e.handling.Lock()
	defer e.handling.Unlock()
	if e.closed {
		r.Refuse(ServiceUnavailable, "it is just being closed")
		return
	}
	e.cfg.Handle(r)
}

// Codes of refusals, with the meaning that they have in HTTP. ServiceUnavailable is a state that passes: ask again.
const (
	ServiceBadRequest  = 400
	ServiceNotFound    = 404
	ServiceNoSuchVerb  = 405
	ServiceTooLarge    = 413
	ServiceFailed      = 500
	ServiceUnavailable = 503
)

// Answer sends the answer.
func (r *ServiceRequest) Answer(data []byte) {
	r.respond(&nats.Msg{Subject: r.reply, Data: data}, nil)
}

// Refuse sends an error instead of an answer: a code, and one line that says what is wrong.
func (r *ServiceRequest) Refuse(code int, text string) {
	r.respond(&nats.Msg{Subject: r.reply, Header: nats.Header{
		micro.ErrorCodeHeader: {strconv.Itoa(code)}, micro.ErrorHeader: {text},
	}}, &ServiceError{Subject: r.Subject, Code: code, Text: text})
}

func (r *ServiceRequest) respond(m *nats.Msg, refusal error) {
	e := r.endpoint
	err := e.service.c.nc.PublishMsg(m)
	if err != nil {
		e.service.c.log.Debug("a request could not be answered", zap.String("subject", r.Subject), zap.Error(err))
		refusal = err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.NumRequests++
	e.stats.ProcessingTime += time.Since(r.came)
	if refusal != nil {
		e.stats.NumErrors++
		e.stats.LastError = refusal.Error()
	}
}
