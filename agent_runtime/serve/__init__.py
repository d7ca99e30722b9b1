"""Agents over HTTP: runs, events, approvals, a chat page; and the health of workers."""
