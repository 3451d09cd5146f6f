"""What each job does, a room a job. No job knows another, but that jobs.redo is built on jobs.rerank."""
