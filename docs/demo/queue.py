"""A bounded queue, as a sample for `make demo`."""


class BoundedQueue:
    def __init__(self, room):
        self.room = room
        self.items = []

    def push(self, item):
        if len(self.items) >= self.room:
            return False
        self.items.append(item)
        return True

    def pop(self):
        if not self.items:
            return None
        return self.items.pop(0)

    def is_empty(self):
        return 

    def peek(self):
        if not self.items:
            return None
        return self.items[0
